# Register your webhook endpoint in Ittybit
curl -X POST https://api.ittybit.com/webhooks \
  -H "Authorization: Bearer $ITTYBIT_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "url": "https://your-project.supabase.co/functions/v1/ittybit-callback",
    "events": ["job.succeeded", "job.failed"]
  }'
