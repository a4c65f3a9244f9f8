# Multi-terminal verification: Anna pays, and enters the codes of her phone and her tablet.
SHOES='{"payee": "mer_bakery", "amount_minor": 4900, "currency": "EUR"}'
KEY=$(new_key)
call anna POST /v1/accounts/acc_anna/verified-payments "$SHOES" $KEY    # 401: codes are sent
CHALLENGE=$(said countersign-challenge-id)
messages anna-phone; messages anna-tablet        # each has a code of its own
# the phone alone is not enough: 401
call anna POST /countersign/v1/user/challenges/$CHALLENGE/entries '{"code": "'$(newest anna-phone code)'"}'
call anna POST /v1/accounts/acc_anna/verified-payments "$SHOES" $KEY
# with the tablet it is: 201
call anna POST /countersign/v1/user/challenges/$CHALLENGE/entries '{"code": "'$(newest anna-tablet code)'"}'
call anna POST /v1/accounts/acc_anna/verified-payments "$SHOES" $KEY
