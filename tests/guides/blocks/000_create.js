const res = await fetch("https://api.ittybit.com/jobs", {
method: "POST",
headers: {
Authorization: `Bearer ${process.env.ITTYBIT_API_KEY}`,
"Content-Type": "application/json",
},
body: JSON.stringify({
input: "https://your-bucket.s3.amazonaws.com/uploads/video.mov",
kind: "video",
options: {
width: 1280,
format: "mp4",
quality: "high",
},
}),
});
const { id, status } = await res.json();
console.log(JSON.stringify({ id, status }));
