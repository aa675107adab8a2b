# Submit a video for processing
curl -X POST https://your-app.up.railway.app/process \
-H "Content-Type: application/json" \
-d '{
"url": "https://example.com/uploads/video.mov",
"kind": "video",
"options": { "width": 1280, "format": "mp4", "quality": "high" }
}'
