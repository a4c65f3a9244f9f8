# Agent order: a desk orders for Anna; her own phone confirms the order, and pays it.
BREAD='{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}'
KEY=$(new_key)
call desk POST /v1/agent/orders "$BREAD" $KEY    # 401: Anna is asked
CHALLENGE=$(said countersign-challenge-id)
messages anna-phone                              # the code is on her phone, and nowhere else
CODE=$(newest anna-phone code)
# from the desk the right code counts for nothing: 202, and 401 as before
call desk POST /countersign/v1/challenges/$CHALLENGE/entries '{"code": "'$CODE'"}'
call desk POST /v1/agent/orders "$BREAD" $KEY
# from her phone it does: 201, the order is placed
call anna-phone POST /countersign/v1/challenges/$CHALLENGE/entries '{"code": "'$CODE'"}'
call desk POST /v1/agent/orders "$BREAD" $KEY
ORDER=$(said countersign-intent-id)
call desk POST /v1/orders/$ORDER/payments        # 403: the desk cannot pay it
call anna-phone POST /v1/orders/$ORDER/payments  # 201: her phone does, within ten minutes
messages anna-phone                              # four: code, deduction request, success, deduction notice
