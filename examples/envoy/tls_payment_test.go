package envoy

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

// certified is the bakery's server, which has a certificate.
const certified = "spiffe://shop.example/bakery"

// registerServer has the bakery called for by its server too, as an operator registers it.
func (f *family) registerServer(t *testing.T) {
	t.Helper()
	var m api.Merchant
	f.backend(t, http.MethodGet, "/v1/merchants/mer_bakery", nil, &m)
	m.Channels = append(m.Channels, authzstore.MerchantChannel{Channel: "till", Identity: server("merchant", certified)})
	f.backend(t, http.MethodPut, "/v1/merchants/mer_bakery", m.MerchantTerms, nil)
}

// newShop is a secure family in which Anna has an account for each of these delegations,
// and Ben's phone makes codes for each.
func newShop(t *testing.T, accounts ...string) *family {
	t.Helper()
	var all []authzstore.Account
	for _, id := range accounts {
		all = append(all, authzstore.Account{ID: id, Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 100000})
	}
	f := newSecureFamily(t, nil, all, terminalOf(accounts[0], "phone", "+491", "approve"))
	f.registerServer(t)
	f.clock.move(48 * time.Hour)
	return f
}

// A merchant whose server has a certificate is paid by a delegate's code; the owner and
// the delegate have tokens.
func TestCertifiedPayment(t *testing.T) {
	f := newShop(t, "acc_anna")
	device := f.accept(t, f.offer(t, "acc_anna", freeTerms()))
	resp := f.pay(t, till{certified, "mer_bakery"}, f.code(t, device, 0), 1250, "EUR")
	if resp.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	claims := f.verified(t, lastPaid(t))
	if claims.AmountMinor != 1250 || claims.Payee != "mer_bakery" || authzstore.Identity(claims.Identity) != server("merchant", certified) {
		t.Errorf("the payment service reads %+v", claims)
	}
}
