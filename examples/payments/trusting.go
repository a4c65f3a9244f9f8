package payments

import (
	"encoding/json"
	"net/http"
)

// maxBodyBytes is Envoy's bound in examples/envoy/envoy.yaml.
const maxBodyBytes = 64 << 10

// New returns a service that asks for no token: it pays what reaches it, as the
// body says, and trusts that Envoy let it through.
func New() *Service {
	s := &Service{mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /v1/accounts/{account}/payments", s.payUnsigned)
	return s
}

func (s *Service) payUnsigned(w http.ResponseWriter, r *http.Request) {
	var p Payment
	body := http.MaxBytesReader(w, r.Body, maxBodyBytes)
	if err := json.NewDecoder(body).Decode(&p); err != nil {
		http.Error(w, "cannot read the payment", http.StatusBadRequest)
		return
	}
	p.Account = r.PathValue("account")
	p.DecisionID = r.Header.Get("countersign-decision-id")
	s.execute(w, p)
}
