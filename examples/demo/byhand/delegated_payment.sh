# Delegated payment: Anna lets Lena pay again, 20.00 at a time and 30.00 a day, and approves
# each payment. The terms are in DIR/by-hand/offer.json.
call anna POST /countersign/v1/accounts/acc_anna/grants "$(cat DIR/by-hand/offer.json)"
GRANT=$(told id)
# Lena accepts, and her device fetches what it makes codes from: once, and a secret
call lena POST /countersign/v1/grants/$GRANT/accept
call lena POST /countersign/v1/grants/$GRANT/parameters
(umask 077; told uri > DIR/by-hand/lena.otpauth)
# a code is good for one payment; a device makes one in 30 seconds
ROLLS='{"payment_code": "'$(COUNTERSIGN code --once DIR/by-hand/lena.otpauth)'", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}'
KEY=$(new_key)
call bakery POST /v1/payments "$ROLLS" $KEY      # 401: Anna is asked
messages anna-phone
CHALLENGE=$(said countersign-challenge-id)
call anna-phone POST /countersign/v1/challenges/$CHALLENGE/approve
call bakery POST /v1/payments "$ROLLS" $KEY      # 201: paid from Anna's account
# half a minute later 17.51, a cent more than is left of the day: the merchant hears little
sleep 30; call bakery POST /v1/payments '{"payment_code": "'$(COUNTERSIGN code --once DIR/by-hand/lena.otpauth)'", "payee": "mer_bakery", "amount_minor": 1751, "currency": "EUR"}'
COUNTERSIGN decision get $(said countersign-decision-id) --data DIR/data
call lena GET /countersign/v1/grants/$GRANT      # what remains
call anna POST /countersign/v1/grants/$GRANT/freeze
COUNTERSIGN grant get $GRANT --data DIR/data
# for good, so that these lines can be pasted again: an account has five grants at most
call anna POST /countersign/v1/grants/$GRANT/revoke
