package authzstore

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// FuzzParseTerms: whatever is accepted keeps the rules of terms, and says the same
// in its own JSON.
func FuzzParseTerms(f *testing.F) {
	f.Add([]byte(fullTerms))
	for _, terms := range []Terms{grantTerms(total), grantTerms(everyPeriod[2].limit("week"), everyPeriod[8].limit("burst"))} {
		text, err := json.Marshal(terms)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		terms, err := ParseTerms(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("error %v", err)
			}
			return
		}
		if err := terms.check(); err != nil {
			t.Errorf("accepted %+v: %v", terms, err)
		}
		again, err := json.Marshal(terms)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := ParseTerms(again); err != nil || !reflect.DeepEqual(same, terms) {
			t.Errorf("%s: %v, %+v", again, err, same)
		}
	})
}
