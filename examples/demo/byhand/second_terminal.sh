# Second-terminal payment: Ida chooses on an old PC, which is paired with nothing, and pays on
# her phone. With ida-laptop in place of ida-old-pc she needs no scan.
BREAD='"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"'
call ida-old-pc POST /v1/checkouts "{$BREAD}"
messages ida-phone                               # asks for a swipe
CHECKOUT=$(newest ida-phone intent)
call ida-phone POST /v1/checkouts/$CHECKOUT/pay "{$BREAD}"              # 403: not swiped yet
call ida-phone POST /countersign/v1/gestures '{"gesture": "swipe"}'
call ida-old-pc POST /v1/checkouts/$CHECKOUT/pay "{$BREAD}"             # 403: opened here
call ida-phone POST /v1/checkouts/$CHECKOUT/pay "{$BREAD}"              # 403: nothing scanned
# the PC shows a QR code; the phone scans it
call ida-old-pc GET /countersign/v1/intents/$CHECKOUT
TOKEN=$(told token)
call ida-phone POST /v1/checkouts/$CHECKOUT/pay "{$BREAD, \"token\": \"$TOKEN\"}"
messages ida-old-pc                              # paid
