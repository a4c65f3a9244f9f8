# Rules: those in DIR/policies decide. A change acts without a restart, once its tests have
# passed. An account has at most two grants at a time now, and Anna has them:
sed -i 's/^max_delegates: .*/max_delegates: 2/' DIR/policies/systems/delegated_payment/data.yaml
# half a minute later the log says `policy`, with another digest; or why it was refused
tail -n 0 -f DIR/countersign.log | grep -m 1 '"msg":"policy'
call anna POST /countersign/v1/accounts/acc_anna/grants "$(cat DIR/by-hand/offer.json)"
# and back, so that the lines of delegated payment work again
sed -i 's/^max_delegates: .*/max_delegates: 5/' DIR/policies/systems/delegated_payment/data.yaml
tail -n 0 -f DIR/countersign.log | grep -m 1 '"msg":"policy'
