package envoy

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
)

// written are the ways to write a secret that are looked for. In base64 a value reads
// in three ways, by where it begins; the characters at its ends are also of what
// stands beside it.
func written(secret []byte) map[string]string {
	all := map[string]string{
		"plain": string(secret), "hex": hex.EncodeToString(secret),
		"base32": base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret),
	}
	for offset := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), secret...))
		all["base64 "+string('0'+rune(offset))] = text[(offset*8+5)/6 : (offset+len(secret))*8/6]
	}
	return all
}

// find says what of the secrets stands in a content.
func find(content []byte, secrets map[string][]byte) (found []string) {
	lower := bytes.ToLower(content)
	for name, secret := range secrets {
		for form, text := range written(secret) {
			if bytes.Contains(content, []byte(text)) || !strings.HasPrefix(form, "base64") && bytes.Contains(lower, []byte(strings.ToLower(text))) {
				found = append(found, name+", "+form)
			}
		}
	}
	return found
}

// No code and no code's secret is anywhere but where it must be: in the answer to the
// delegate that fetches the parameters. Not on the disk, in the log, in the decision
// log, or in what anybody else hears.
func TestCodesLeakNowhere(t *testing.T) {
	f := newFamily(t, nil, []authzstore.Account{{ID: "acc_quiet", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1 << 40}})
	grant := f.offer(t, "acc_quiet", freeTerms())
	phone := f.accept(t, grant)
	f.clock.move(2 * step)
	secrets := map[string][]byte{"the secret": phone.Secret, "the URI": []byte(phone.URI())}
	var heard []byte
	for name, steps := range map[string]int64{"a stale code": -2, "a used code": -1, "a right code": 0, "a future code": 1} {
		code := f.code(t, phone, steps)
		secrets[name] = []byte(code)
		for range 2 {
			heard = append(heard, f.pay(t, bakery, code, 1, "EUR").body...)
		}
	}
	heard = append(heard, f.call(t, "anna", http.MethodGet, grantPath(grant, ""), nil).body...)
	heard = append(heard, f.call(t, "anna", http.MethodPost, grantPath(grant, "reissue"), nil).body...)
	heard = append(heard, f.call(t, "ben", http.MethodGet, grantPath(grant, ""), nil).body...)
	f.fetch(t, grant) // the last call: what was written before it is on the disk
	outputs := map[string][]byte{"answers": heard, "decision log": f.records.bytes(), "log": f.log.bytes()}
	err := filepath.WalkDir(f.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		outputs[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range outputs {
		for _, leak := range find(content, secrets) {
			t.Errorf("%s: %s", name, leak)
		}
	}
	// The search finds what is there.
	for name, secret := range secrets {
		for form, text := range written(secret) {
			if len(find([]byte("x"+text+"x"), secrets)) == 0 {
				t.Errorf("%s, %s, is not found", name, form)
			}
		}
	}
	if !bytes.Contains(outputs["decision log"], []byte(grant)) || len(outputs) < 8 {
		t.Errorf("looked into %d outputs only", len(outputs))
	}
}
