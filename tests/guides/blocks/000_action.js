const blob = { url: "https://your-bucket.s3.amazonaws.com/uploads/video.mov" };
const record = { id: "ckx0" };
const res = await fetch('https://api.ittybit.com/jobs', {
method: 'POST',
headers: {
Authorization: `Bearer ${process.env.ITTYBIT_API_KEY}`,
'Content-Type': 'application/json',
},
body: JSON.stringify({
input: blob.url,
kind: 'video',
options: { width: 1280, format: 'mp4', quality: 'high' },
metadata: { media_id: record.id },
}),
});
if (!res.ok) {
throw new Error('Failed to create task');
}
console.log(JSON.stringify(await res.json()));
