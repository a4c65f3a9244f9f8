# Proxied business: Tom withdraws 30.00 at a desk, which scans the QR code on his phone.
call tom-phone POST /v1/business '{"type": "withdrawal", "amount_minor": 3000, "currency": "EUR", "proxy_mode": true}'
BUSINESS=$(said countersign-intent-id)
call tom-phone GET /countersign/v1/intents/$BUSINESS
told qr_png | base64 -d > DIR/by-hand/tom.png    # the QR code; it holds $BUSINESS and nothing else
call desk GET /countersign/v1/business/$BUSINESS
call desk POST /countersign/v1/business/$BUSINESS/scan '{"account": "acc_desk"}'
# not before Tom has confirmed which desk it is: 403
call desk POST /v1/business/$BUSINESS/execute '{"account": "acc_desk", "amount_minor": 3000}'
messages tom-phone
call tom-phone POST /countersign/v1/business/$BUSINESS/confirm '{"agent_account": "acc_desk"}'
# another amount than was asked for, 403; another desk, 403; and this one, 201, once
call desk POST /v1/business/$BUSINESS/execute '{"account": "acc_desk", "amount_minor": 9000}'
call kiosk POST /v1/business/$BUSINESS/execute '{"account": "acc_kiosk", "amount_minor": 3000}'
call desk POST /v1/business/$BUSINESS/execute '{"account": "acc_desk", "amount_minor": 3000}'
