curl -X POST https://api.ittybit.com/jobs \
-H "Authorization: Bearer $ITTYBIT_API_KEY" \
-H "Content-Type: application/json" \
-d '{
"input": "https://your-bucket.s3.amazonaws.com/uploads/video.mov",
"kind": "video",
"options": {
"width": 1280,
"format": "mp4",
"quality": "high"
}
}'
