package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign/countersign/authzstore"
)

// newSchemas returns the schemas, in which nouns that callers write are described
// and bounded by the types below: package authzstore knows nothing of HTTP.
func newSchemas() huma.Registry {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	for _, d := range described {
		schemas.RegisterTypeAlias(d.noun, d.by)
	}
	return schemas
}

// described are nouns, and the types that describe them: with the same members,
// which a test holds them to.
var described = []struct{ noun, by reflect.Type }{
	{reflect.TypeFor[authzstore.Identity](), reflect.TypeFor[Identity]()},
	{reflect.TypeFor[authzstore.Limit](), reflect.TypeFor[Limit]()},
	{reflect.TypeFor[authzstore.Period](), reflect.TypeFor[Period]()},
	{reflect.TypeFor[authzstore.MerchantChannel](), reflect.TypeFor[MerchantChannel]()},
	{reflect.TypeFor[authzstore.Terms](), reflect.TypeFor[Terms]()},
	{reflect.TypeFor[authzstore.Instant](), reflect.TypeFor[Instant]()},
	{reflect.TypeFor[authzstore.Filter](), reflect.TypeFor[Filter]()},
	{reflect.TypeFor[authzstore.Hours](), reflect.TypeFor[Hours]()},
	{reflect.TypeFor[authzstore.Cooling](), reflect.TypeFor[Cooling]()},
}

// An Identity describes authzstore.Identity.
type Identity struct {
	Kind       string `json:"kind" minLength:"1" maxLength:"256" doc:"user, agent, merchant, …"`
	Issuer     string `json:"issuer" minLength:"1" maxLength:"256" doc:"the issuer of its tokens (iss), or a trust domain"`
	Subject    string `json:"subject" minLength:"1" maxLength:"256" doc:"unique within the issuer (sub)"`
	OnBehalfOf string `json:"on_behalf_of,omitempty" maxLength:"256" doc:"for whom it acts, a subject of the same issuer"`
}

// A Limit describes authzstore.Limit.
type Limit struct {
	Name           string `json:"name" pattern:"^[a-z][a-z0-9_]{0,63}$" patternDescription:"snake_case name"`
	MaxAmountMinor int64  `json:"max_amount_minor,omitempty" minimum:"1" maximum:"9007199254740991" doc:"most in one period, minor units; absent: amounts are not bounded"`
	MaxCount       int64  `json:"max_count,omitempty" minimum:"1" maximum:"9007199254740991" doc:"most payments in one period; absent: they are not bounded"`
	Period         Period `json:"period"`
}

// A Period describes authzstore.Period.
type Period struct {
	Kind          string `json:"kind" enum:"lifetime,day,week,fortnight,month,half_year,year,sliding"`
	Alignment     string `json:"alignment,omitempty" enum:"calendar,consent" doc:"where periods start; absent for lifetime and sliding"`
	Zone          string `json:"zone,omitempty" maxLength:"64" doc:"IANA name of the time zone; absent for lifetime and sliding"`
	WeekStart     string `json:"week_start,omitempty" enum:"monday,tuesday,wednesday,thursday,friday,saturday,sunday" doc:"for a week by the calendar"`
	WindowSeconds int64  `json:"window_seconds,omitempty" minimum:"10" maximum:"7776000" doc:"length of a sliding window"`
}

// A MerchantChannel describes authzstore.MerchantChannel.
type MerchantChannel struct {
	Channel  string   `json:"channel" pattern:"^[a-z][a-z0-9_]{0,63}$" patternDescription:"snake_case name" doc:"such as shop or web"`
	Identity Identity `json:"identity"`
}

// Terms describes authzstore.Terms.
type Terms struct {
	Currency        string  `json:"currency" pattern:"^[A-Z]{3}$" patternDescription:"ISO 4217 code" doc:"the account's"`
	MaxPaymentMinor int64   `json:"max_payment_minor" minimum:"1" maximum:"9007199254740991" doc:"most for one payment, minor units"`
	Limits          []Limit `json:"limits" minItems:"1" maxItems:"16"`
	ValidFrom       Instant `json:"valid_from"`
	ValidTo         Instant `json:"valid_to"`
	Merchants       Filter  `json:"merchants" doc:"mer_…"`
	Categories      Filter  `json:"categories" doc:"merchant category codes, 4 digits (ISO 18245)"`
	Countries       Filter  `json:"countries" doc:"country codes, 2 capitals (ISO 3166-1)"`
	Channels        Filter  `json:"channels" doc:"names of merchants' channels"`
	Hours           Hours   `json:"hours"`
	Cooling         Cooling `json:"cooling"`
	Delegation      string  `json:"delegation" enum:"full,partial" doc:"partial is not supported yet"`
	RefundRestores  bool    `json:"refund_restores" doc:"whether what is refunded of a payment is free again in the periods in which it counted"`
}

// An Instant describes authzstore.Instant.
type Instant struct {
	Mode    string `json:"mode" enum:"any,at"`
	AtNanos int64  `json:"at_ns,omitempty" minimum:"1" doc:"for at: the first or last instant, ns since 1970-01-01 UTC"`
}

// A Filter describes authzstore.Filter.
type Filter struct {
	Mode   string   `json:"mode" enum:"any,only,except"`
	Values []string `json:"values,omitempty" minItems:"1" maxItems:"64" doc:"for only and except"`
}

// Hours describes authzstore.Hours.
type Hours struct {
	Mode string `json:"mode" enum:"any,between"`
	Zone string `json:"zone,omitempty" maxLength:"64" doc:"for between: IANA name of the time zone"`
	From string `json:"from,omitempty" pattern:"^[0-9]{2}:[0-9]{2}$" patternDescription:"HH:MM"`
	To   string `json:"to,omitempty" pattern:"^[0-9]{2}:[0-9]{2}$" patternDescription:"HH:MM"`
}

// Cooling describes authzstore.Cooling.
type Cooling struct {
	Mode           string `json:"mode" enum:"none,first"`
	Seconds        int64  `json:"seconds,omitempty" minimum:"1" maximum:"7776000" doc:"for first: how long after acceptance"`
	MaxAmountMinor int64  `json:"max_amount_minor,omitempty" minimum:"1" maximum:"9007199254740991" doc:"for first: most in all that time, minor units"`
}
