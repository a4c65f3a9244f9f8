package decide

import (
	"errors"
	"net/http"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

func offerRefs(ck *check, f Facts) []kv.Ref {
	if f.Account == nil {
		return nil
	}
	return authzstore.OfferRefs(authzstore.Grant{ID: ck.grantID, Account: f.Account.ID, Delegate: ck.delegate()})
}

func grantRefs(ck *check, f Facts) []kv.Ref {
	if f.Grant == nil {
		return nil
	}
	refs := authzstore.GrantRefs(*f.Grant)
	if ck.credential.Handle != "" {
		refs = append(refs, authzstore.CredentialRef(ck.credential.Handle, kv.Exclusive))
	}
	return refs
}

func accountRefs(_ *check, f Facts) []kv.Ref {
	if f.Account == nil {
		return nil
	}
	return []kv.Ref{authzstore.AccountRef(f.Account.ID, kv.Exclusive)}
}

func verificationRefs(_ *check, f Facts) []kv.Ref {
	if f.Account == nil {
		return nil
	}
	return []kv.Ref{authzstore.VerificationRef(f.Account.ID, kv.Exclusive)}
}

func toGrant(set func(tx *authzstore.Tx, id string) error) func(*check, *authzstore.Tx, Facts) error {
	return func(_ *check, tx *authzstore.Tx, f Facts) error { return set(tx, f.Grant.ID) }
}

func toAccount(set func(tx *authzstore.Tx, id string) error) func(*check, *authzstore.Tx, Facts) error {
	return func(_ *check, tx *authzstore.Tx, f Facts) error { return set(tx, f.Account.ID) }
}

// onGrant is for what issues a credential.
func onGrant(set func(tx *authzstore.Tx, id string, c authzstore.Credential) error) func(*check, *authzstore.Tx, Facts) error {
	return func(ck *check, tx *authzstore.Tx, f Facts) error { return set(tx, f.Grant.ID, ck.credential) }
}

// delegate is whom the call offers a grant to.
func (ck *check) delegate() authzstore.Identity {
	return authzstore.Identity{Kind: ck.call.Text("delegate_kind"), Issuer: ck.call.Text("delegate_issuer"), Subject: ck.call.Text("delegate_subject")}
}

func offer(ck *check, tx *authzstore.Tx, f Facts) error {
	terms, err := authzstore.ParseTerms([]byte(ck.call.Text("terms")))
	if err != nil {
		return err
	}
	return tx.OfferGrant(authzstore.Grant{ID: ck.grantID, Account: f.Account.ID, Delegate: ck.delegate(), Terms: terms})
}

// change gives a grant other terms, and one that is in use another credential: a
// device that knew the old terms must ask for the new ones.
func change(ck *check, tx *authzstore.Tx, f Facts) error {
	terms, err := authzstore.ParseTerms([]byte(ck.call.Text("terms")))
	if err != nil {
		return err
	}
	if err := tx.ChangeGrant(f.Grant.ID, terms); err != nil {
		if errors.Is(err, authzstore.ErrInvalid) {
			return changeInvalid
		}
		return err
	}
	if f.Grant.State == authzstore.GrantOffered {
		return nil
	}
	return tx.IssueCredential(f.Grant.ID, ck.credential)
}

// fetch hands out the parameters of the credential in force, once for each
// credential. They are then this decision's (FetchedBy), and are shown to nobody but who
// has its token: who repeats the call under its key gets them again, until the first
// code of them was used.
func fetch(ck *check, tx *authzstore.Tx, f Facts) error {
	if f.Grant.Handle == "" {
		return &authzstore.StateError{Noun: "grant", State: string(f.Grant.State)}
	}
	err := tx.MarkParametersFetched(f.Grant.Handle, ck.id)
	if errors.Is(err, authzstore.ErrUsed) {
		return parametersFetched
	}
	return err
}

// What the call itself is to blame for, though the policy allows it.
var (
	changeInvalid = &call.Refusal{Status: http.StatusUnprocessableEntity, Code: "grant_change_invalid",
		Message: "A grant keeps its currency, a limit that keeps its name keeps its period, limits get new names only so often, and a grant that cools goes on cooling. Anything else is a new grant."}
	parametersFetched = &call.Refusal{Status: http.StatusConflict, Code: "parameters_fetched",
		Message: "The parameters of this grant were obtained before. The owner can have new ones issued."}
)
