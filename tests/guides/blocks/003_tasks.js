const ITTYBIT_API_KEY = process.env.ITTYBIT_API_KEY;
const WEBHOOK_URL = process.env.WEBHOOK_URL;
const CONNECTION_ID = process.env.ITTYBIT_CONNECTION_ID;
const { bucket, object } = JSON.parse(process.env.EVENT).detail;
const input = `s3://${bucket.name}/${object.key}`;
const tasks = [
  { input, kind: 'video', options: { connection_id: CONNECTION_ID, width: 1920, format: 'mp4' } },
  {
    input,
    kind: 'image',
    options: { connection_id: CONNECTION_ID, width: 640, format: 'webp', start: 2 },
  },
  {
    input,
    kind: 'audio',
    options: { connection_id: CONNECTION_ID, format: 'mp3', quality: 'medium' },
  },
];

await Promise.all(
  tasks.map((task) =>
    fetch('https://api.ittybit.com/jobs', {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${ITTYBIT_API_KEY}`,
        'Content-Type': 'application/json',
      },
      body: JSON.stringify({
        ...task,
        webhook_url: WEBHOOK_URL,
        metadata: { source_bucket: bucket.name, source_key: object.key },
      }),
    }),
  ),
);
