const RAILWAY_DOMAIN = "your-app.up.railway.app";
const tasks = [
{ kind: "video", options: { width: 1920, format: "mp4", quality: "high" } },
{ kind: "image", options: { width: 640, format: "webp", start: 2 } },
{ kind: "video", options: { width: 480, format: "mp4", quality: "low" } },
];
const results = await Promise.all(
tasks.map((task) =>
fetch("https://api.ittybit.com/jobs", {
method: "POST",
headers: {
Authorization: `Bearer ${process.env.ITTYBIT_API_KEY}`,
"Content-Type": "application/json",
},
body: JSON.stringify({
input: "https://example.com/uploads/video.mov",
...task,
webhook_url: `https://${RAILWAY_DOMAIN}/webhooks/ittybit`,
}),
}).then((r) => r.json())
)
);
console.log(JSON.stringify(results));
