# Check status
curl https://your-app.up.railway.app/jobs/task_abc123
