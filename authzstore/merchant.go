package authzstore

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Merchant is who can be paid by a grant.
type Merchant struct {
	ID       string        `cbor:"1,keyasint" json:"id"` // mer_…
	Name     string        `cbor:"2,keyasint" json:"name"`
	Category string        `cbor:"3,keyasint" json:"category"` // MCC, 4 digits (ISO 18245)
	Country  string        `cbor:"4,keyasint" json:"country"`  // ISO 3166-1 alpha-2
	State    MerchantState `cbor:"5,keyasint" json:"state"`
	// Channels are by whom the merchant calls, and what a call of theirs comes
	// through.
	Channels []MerchantChannel `cbor:"6,keyasint,omitempty" json:"channels,omitempty"`
}

// A MerchantChannel is an identity that calls for a merchant, and the channel that
// its calls stand for, such as shop or web.
type MerchantChannel struct {
	Channel  string   `cbor:"1,keyasint" json:"channel"` // snake_case
	Identity Identity `cbor:"2,keyasint" json:"identity"`
}

// MerchantState says whether a merchant is paid.
type MerchantState string

// The states of a merchant.
const (
	MerchantActive MerchantState = "active"
	MerchantFrozen MerchantState = "frozen"
)

// A MerchantIdentity says whose channel an identity is: the index of merchants.
type MerchantIdentity struct {
	Merchant string `cbor:"1,keyasint" json:"merchant"`
	Channel  string `cbor:"2,keyasint" json:"channel"`
}

const (
	merchantVersion = 1
	merchantPrefix  = "merchant/"

	// A record merchant_of/IDENTITY, the identity hashed, stands for each channel.
	merchantOfVersion = 1
	merchantOfPrefix  = "merchant_of/"

	maxChannels = 64
)

func (m Merchant) check() error {
	if err := checkID("merchant", "mer", m.ID); err != nil {
		return err
	}
	switch {
	case !isName(m.Name):
		return fmt.Errorf("%w: the name of merchant %s is not a text of 1 to %d bytes", ErrInvalid, m.ID, MaxNameBytes)
	case !categoryForm.MatchString(m.Category):
		return fmt.Errorf("%w: category %q is not 4 digits", ErrInvalid, m.Category)
	case !countryForm.MatchString(m.Country):
		return fmt.Errorf("%w: country %q is not 2 capitals", ErrInvalid, m.Country)
	case m.State != MerchantActive && m.State != MerchantFrozen:
		return fmt.Errorf("%w: merchant state %q is neither active nor frozen", ErrInvalid, m.State)
	case len(m.Channels) > maxChannels:
		return fmt.Errorf("%w: %d channels, at most %d", ErrInvalid, len(m.Channels), maxChannels)
	}
	for i, c := range m.Channels {
		if err := c.Identity.check(); err != nil {
			return err
		}
		if !IsSnakeCase(c.Channel) {
			return fmt.Errorf("%w: channel %q is not a snake_case name", ErrInvalid, c.Channel)
		}
		if slices.ContainsFunc(m.Channels[:i], func(b MerchantChannel) bool { return b.Identity == c.Identity }) {
			return fmt.Errorf("%w: one identity has two channels of merchant %s", ErrInvalid, m.ID)
		}
	}
	return nil
}

func (m MerchantIdentity) check() error {
	if !IsSnakeCase(m.Channel) {
		return fmt.Errorf("%w: channel %q is not a snake_case name", ErrInvalid, m.Channel)
	}
	return checkID("merchant", "mer", m.Merchant)
}

func merchantOfKey(identity Identity) string { return merchantOfPrefix + hashed(identity.parts()...) }

// MerchantRefs declares what PutMerchant touches: the merchant as it will be, and
// as a snapshot has it.
func MerchantRefs(merchants ...Merchant) []kv.Ref {
	var refs []kv.Ref
	for _, m := range merchants {
		refs = append(refs, exclusive(merchantPrefix+m.ID))
		for _, c := range m.Channels {
			refs = append(refs, exclusive(merchantOfKey(c.Identity)))
		}
	}
	return refs
}

// Merchant returns a merchant, and whether it exists.
func (r Reader) Merchant(id string) (Merchant, bool, error) {
	return getOwn(r, merchantPrefix, id, merchantVersion, func(m Merchant) string { return m.ID })
}

// MerchantOf returns the merchant that an identity calls for, the channel that it
// stands for, and whether there is one.
func (r Reader) MerchantOf(identity Identity) (m Merchant, channel string, ok bool, err error) {
	of, ok, err := get[MerchantIdentity](r, merchantOfKey(identity), merchantOfVersion)
	if err != nil || !ok {
		return Merchant{}, "", false, err
	}
	m, ok, err = r.Merchant(of.Merchant)
	return m, of.Channel, ok, err
}

// Merchants lists all merchants, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) Merchants(after string, most int) (merchants []Merchant, next string, err error) {
	return page[Merchant](s, merchantPrefix, merchantVersion, after, most)
}

// PutMerchant writes a merchant, new or in place of what it was. No identity calls
// for two merchants: ErrUsed if another one has it. ErrInvalid.
func (tx *Tx) PutMerchant(m Merchant) error {
	old, _, err := tx.Merchant(m.ID)
	if err != nil {
		return err
	}
	if err := put(tx, merchantPrefix+m.ID, merchantVersion, m); err != nil {
		return err
	}
	for _, c := range m.Channels {
		key := merchantOfKey(c.Identity)
		of, had, err := get[MerchantIdentity](tx.Reader, key, merchantOfVersion)
		if err != nil {
			return err
		}
		if had && of.Merchant != m.ID {
			return fmt.Errorf("%w: an identity of merchant %s calls for %s", ErrUsed, m.ID, of.Merchant)
		}
		if err := put(tx, key, merchantOfVersion, MerchantIdentity{m.ID, c.Channel}); err != nil {
			return err
		}
	}
	for _, c := range old.Channels {
		if slices.ContainsFunc(m.Channels, func(n MerchantChannel) bool { return n.Identity == c.Identity }) {
			continue
		}
		if err := tx.delete(merchantOfKey(c.Identity)); err != nil {
			return err
		}
	}
	return nil
}
