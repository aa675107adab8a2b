# HD version
curl -X POST https://api.ittybit.com/jobs \
-H "Authorization: Bearer $ITTYBIT_API_KEY" \
-H "Content-Type: application/json" \
-d '{
"input": "https://example.com/uploads/video.mov",
"kind": "video",
"options": { "width": 1920, "format": "mp4", "quality": "high" },
"webhook_url": "https://your-app.up.railway.app/webhooks/ittybit"
}'
# Thumbnail
curl -X POST https://api.ittybit.com/jobs \
-H "Authorization: Bearer $ITTYBIT_API_KEY" \
-H "Content-Type: application/json" \
-d '{
"input": "https://example.com/uploads/video.mov",
"kind": "image",
"options": { "width": 640, "format": "webp", "start": 2 },
"webhook_url": "https://your-app.up.railway.app/webhooks/ittybit"
}'
# Low-res preview
curl -X POST https://api.ittybit.com/jobs \
-H "Authorization: Bearer $ITTYBIT_API_KEY" \
-H "Content-Type: application/json" \
-d '{
"input": "https://example.com/uploads/video.mov",
"kind": "video",
"options": { "width": 480, "format": "mp4", "quality": "low" },
"webhook_url": "https://your-app.up.railway.app/webhooks/ittybit"
}'
