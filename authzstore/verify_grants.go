package authzstore

import (
	"slices"
)

func (v *verifier) addGrant(g Grant) {
	v.grants[g.ID] = g
	v.index[grantedKey(g)] = indexMark{}
	v.index[delegatedKey(g)] = indexMark{}
}

// checkIndexes compares the index records with the nouns that they stand for.
func (v *verifier) checkIndexes() {
	const invariant = "the indexes hold the nouns"
	for key, mark := range v.indexed {
		switch want, ok := v.index[key]; {
		case !ok:
			v.report(key, invariant, "an entry without its noun")
		case want != mark:
			v.report(key, invariant, "%+v, the noun says %+v", mark, want)
		}
	}
	for key := range v.index {
		if _, ok := v.indexed[key]; !ok {
			v.report(key, invariant, "no entry for the noun")
		}
	}
}

// checkGrants compares the grants with the delegates of their accounts and with
// their credentials.
func (v *verifier) checkGrants() {
	const listed, paid = "the delegates of an account are its open grants", "an accepted grant has at most one credential in force, its own"
	for _, g := range v.grants {
		if slices.Contains(v.open[g.Account].Open, g.ID) != g.Open() {
			v.report(delegatesPrefix+g.Account, listed, "%s is %s, and listed: %t", g.ID, g.State, !g.Open())
		}
		if g.Handle == "" {
			continue
		}
		if c, ok := v.handles[g.Handle]; !ok || c.Ended || c.Grant != g.ID {
			v.report(grantPrefix+g.ID, paid, "credential %s: there %t, ended %t, of %q", g.Handle, ok, c.Ended, c.Grant)
		}
	}
	for account, d := range v.open {
		for _, id := range d.Open {
			if g, ok := v.grants[id]; !ok || g.Account != account {
				v.report(delegatesPrefix+account, listed, "%s, from %q", id, g.Account)
			}
		}
	}
	for handle, c := range v.handles {
		g, ok := v.grants[c.Grant]
		if !ok || !c.Ended && g.Handle != handle {
			v.report(credentialPrefix+handle, paid, "it is in force, and that of %s is %q", c.Grant, g.Handle)
		}
	}
}
