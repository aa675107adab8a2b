# Manual test -- simulate what the Lambda does

TASK='{
  "input": "s3://my-media-bucket/uploads/video.mov",
  "kind": "video",
  "options": {
    "connection_id": "conn_abc123",
    "width": 1920,
    "format": "mp4",
    "quality": "high"
  },
  "webhook_url": "https://xyz.lambda-url.us-east-1.on.aws/webhook",
  "metadata": {
    "source_bucket": "my-media-bucket",
    "source_key": "uploads/video.mov"
  }
}'

curl -X POST https://api.ittybit.com/jobs \
  -H "Authorization: Bearer $ITTYBIT_API_KEY" \
  -H "Content-Type: application/json" \
  -d "$TASK"
