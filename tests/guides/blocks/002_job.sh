TASK='{
"input": "https://clippable-app.com/projects/edit-38271.mov",
"kind": "video",
"options": {
"format": "mp4",
"width": 1920
},
"webhook_url": "https://clippable-app.com/webhooks/ittybit"
}'
curl -X POST https://api.ittybit.com/jobs \
-H "Authorization: Bearer $ITTYBIT_API_KEY" \
-H "Content-Type: application/json" \
-d "$TASK"
