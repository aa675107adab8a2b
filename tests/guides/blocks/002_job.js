const task = {
input: 'https://clippable-app.com/projects/edit-38271.mov',
kind: 'video',
options: {
format: 'mp4',
width: 1920,
},
webhook_url: 'https://clippable-app.com/webhooks/ittybit',
};
const res = await fetch('https://api.ittybit.com/jobs', {
method: 'POST',
headers: {
Authorization: `Bearer ${process.env.ITTYBIT_API_KEY}`,
'Content-Type': 'application/json',
},
body: JSON.stringify(task),
});
const data = await res.json();
console.log(JSON.stringify(data));
