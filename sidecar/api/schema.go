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
	Name           string `json:"name" pattern:"^[a-z][a-z0-9_]{0,31}$" patternDescription:"snake_case name"`
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
