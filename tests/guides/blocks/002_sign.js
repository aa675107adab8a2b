import crypto from 'crypto';
const req = { body: JSON.parse(process.env.BODY) };
const computed = crypto
.createHmac('sha256', process.env.ITTYBIT_WEBHOOK_SECRET)
.update(JSON.stringify(req.body))
.digest('hex');
console.log(computed);
