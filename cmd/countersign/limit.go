package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign/countersign/authzstore"
)

// limitsFlag is a flag that may be repeated, for an account's limits:
// NAME=amount:MINOR,count:N, with one of the two or both.
type limitsFlag []authzstore.Limit

func (f *limitsFlag) Type() string   { return "NAME=amount:MINOR,count:N" }
func (f *limitsFlag) String() string { return "" } // the default: none

func (f *limitsFlag) Set(text string) error {
	name, bounds, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("write a limit as NAME=amount:MINOR,count:N")
	}
	l := authzstore.Limit{Name: name}
	for bound := range strings.SplitSeq(bounds, ",") {
		kind, most, _ := strings.Cut(bound, ":")
		var of *int64
		switch kind {
		case "amount":
			of = &l.MaxAmountMinor
		case "count":
			of = &l.MaxCount
		default:
			return fmt.Errorf("%q is neither amount:MINOR nor count:N", bound)
		}
		if *of != 0 {
			return fmt.Errorf("%s stands twice", kind)
		}
		n, err := strconv.ParseInt(most, 10, 64)
		if err != nil || n < 1 { // to the store, zero is no bound
			return fmt.Errorf("%s is not a whole number above zero", kind)
		}
		*of = n
	}
	*f = append(*f, l)
	return nil
}
