# Rules: those in DIR/policies decide. A change acts without a restart, once its tests have
# passed. An account has at most two grants at a time now, and Anna has them:
sed -i 's/^max_delegates: .*/max_delegates: 2/' DIR/policies/systems/delegated_payment/data.yaml
tail -f DIR/countersign.log                      # until a line says "policy" again, with another digest; then Ctrl-C
call anna POST /countersign/v1/accounts/acc_anna/grants "$(cat DIR/by-hand/offer.json)"
