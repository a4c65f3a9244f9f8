package evidence

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pquerna/otp"
)

// rfcSecret is the ASCII text 12345678901234567890 of both RFCs, repeated to the
// length that erratum 2866 of RFC 6238 gives the keys of SHA-256 and SHA-512.
func rfcSecret(bytes int) Secret { return Secret(strings.Repeat("1234567890", 7)[:bytes]) }

func parameters(edit func(*Parameters)) Parameters {
	p := Parameters{
		Issuer: "Example Bank", Prefix: "28", Handle: "0123456789",
		Secret: rfcSecret(20), Digits: 8, PeriodSeconds: 30, Algorithm: "SHA1",
	}
	if edit != nil {
		edit(&p)
	}
	return p
}

// RFC 4226, appendix D.
func TestRFC4226(t *testing.T) {
	p := parameters(func(p *Parameters) { p.Digits = 6 })
	for count, want := range []string{
		"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
	} {
		if got, err := p.Code(int64(count)); err != nil || got != "280123456789"+want {
			t.Errorf("count %d: %s, %v, want %s", count, got, err, want)
		}
	}
}

// RFC 6238, appendix B.
func TestRFC6238(t *testing.T) {
	keys := map[string]int{"SHA1": 20, "SHA256": 32, "SHA512": 64}
	for _, c := range []struct {
		unixSeconds int64
		want        map[string]string
	}{
		{59, map[string]string{"SHA1": "94287082", "SHA256": "46119246", "SHA512": "90693936"}},
		{1111111109, map[string]string{"SHA1": "07081804", "SHA256": "68084774", "SHA512": "25091201"}},
		{1111111111, map[string]string{"SHA1": "14050471", "SHA256": "67062674", "SHA512": "99943326"}},
		{1234567890, map[string]string{"SHA1": "89005924", "SHA256": "91819424", "SHA512": "93441116"}},
		{2000000000, map[string]string{"SHA1": "69279037", "SHA256": "90698825", "SHA512": "38618901"}},
		{20000000000, map[string]string{"SHA1": "65353130", "SHA256": "77737706", "SHA512": "47863826"}},
	} {
		for algorithm, want := range c.want {
			p := parameters(func(p *Parameters) { p.Algorithm, p.Secret = algorithm, rfcSecret(keys[algorithm]) })
			// The last time does not fit 64 bits of nanoseconds.
			if got, err := p.Code(c.unixSeconds / 30); err != nil || got != "280123456789"+want {
				t.Errorf("%d %s: %s, %v, want %s", c.unixSeconds, algorithm, got, err, want)
			}
		}
	}
}

func TestSteps(t *testing.T) {
	p := parameters(nil)
	for nowNanos, want := range map[int64]int64{0: 0, 30e9 - 1: 0, 30e9: 1, 59e9: 1, 60e9: 2} {
		if got := p.Step(nowNanos); got != want {
			t.Errorf("%d ns: step %d, want %d", nowNanos, got, want)
		}
	}
	if end := p.StepEndNanos(1); end != 60e9 {
		t.Errorf("step 1 ends at %d ns", end)
	}
	if _, err := p.Code(-1); err == nil {
		t.Error("a step before 1970")
	}
}

func TestURI(t *testing.T) {
	p := parameters(nil)
	const want = "otpauth://totp/Example%20Bank:280123456789?algorithm=SHA1&digits=8&handle=0123456789&issuer=Example%20Bank" +
		"&period=30&prefix=28&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	if got := p.URI(); got != want {
		t.Errorf("%s", got)
	}
	for _, edit := range []func(*Parameters){
		nil,
		func(p *Parameters) { p.Issuer = `A+B & "C" #1/2?` },
		func(p *Parameters) { p.Algorithm, p.Digits, p.PeriodSeconds, p.Prefix = "SHA512", 6, 60, "00" },
		func(p *Parameters) { p.Secret = rfcSecret(64) },
	} {
		want := parameters(edit)
		got, err := ParseParameters(want.URI())
		if err != nil || got.URI() != want.URI() || string(got.Secret) != string(want.Secret) {
			t.Errorf("%s: %+v, %v", want.URI(), got, err)
		}
		// An authenticator app reads the same.
		key, err := otp.NewKeyFromURL(want.URI())
		if err != nil {
			t.Fatal(err)
		}
		if key.Type() != "totp" || key.Issuer() != want.Issuer || key.AccountName() != want.Prefix+want.Handle ||
			key.Secret() != secretText.EncodeToString(want.Secret) || key.Digits().Length() != want.Digits ||
			key.Period() != uint64(want.PeriodSeconds) || key.Algorithm().String() != want.Algorithm {
			t.Errorf("an app reads %s %s %s %s %s %d %s", key.Type(), key.Issuer(), key.AccountName(), key.Secret(), key.Digits(), key.Period(), key.Algorithm())
		}
	}
}

func TestParseParametersRefuses(t *testing.T) {
	good := parameters(nil).URI()
	if _, err := ParseParameters(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"otpauth:", "https:"},
		{"//totp/", "//hotp/"},
		{"//totp/", "//me@totp/"},
		{"secret=GEZD", "secret="},
		{"secret=GEZD", "secret=gezd"},
		{"secret=GEZD", "secret=1EZD"},
		{"secret=GEZDGNBV", "secret="},
		{"secret=GEZD", "secret=" + strings.Repeat("GEZDGNBV", 10) + "GEZD"},
		{"&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", ""},
		{"digits=8", "digits=5"},
		{"digits=8", "digits=9"},
		{"digits=8", "digits=x"},
		{"digits=8", "digits=8&digits=8"},
		{"period=30", "period=9"},
		{"period=30", "period=301"},
		{"period=30", "period=-30"},
		{"period=30", "period=99999999999999999999"},
		{"algorithm=SHA1", "algorithm=MD5"},
		{"algorithm=SHA1", "algorithm=sha1"},
		{"prefix=28", "prefix=27"},
		{"prefix=28", "prefix=2"},
		{"prefix=28", "prefix=2x"},
		{"handle=0123456789", "handle=0123456780"},
		{"handle=0123456789", "handle=012345678"},
		{"issuer=Example%20Bank", "issuer=Another"},
		{"issuer=Example%20Bank", "issuer="},
		{"digits=8", "digits=8&image=x"},
		{"digits=8", "digits=%zz"},
		{"280123456789?", "280123456788?"},
		{"Example%20Bank:", "Another:"},
		{"secret=", "secret=" + strings.Repeat("A", 1024)},
	} {
		uri := strings.Replace(good, c[0], c[1], 1)
		if uri == good {
			t.Fatalf("%q is not in the URI", c[0])
		}
		_, err := ParseParameters(uri)
		if err == nil {
			t.Errorf("%s for %s is accepted", c[1], c[0])
		} else if strings.Contains(strings.ToUpper(err.Error()), "GNBVGY3T") {
			t.Errorf("%s for %s: the secret is in the error", c[1], c[0])
		}
	}
	if _, err := ParseParameters(good + "#x"); err == nil {
		t.Error("a fragment is accepted")
	}
}

// A secret does not get into a log by any of the usual ways.
func TestSecretDoesNotPrint(t *testing.T) {
	p := parameters(nil)
	hidden := []string{"1234567890", "GEZDGNBV", "[49 50", "31323334", "MTIzNDU2"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "parameters", p, "secret", p.Secret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "parameters", p, "secret", p.Secret)
	text, err := json.Marshal(p)
	if err == nil {
		t.Errorf("JSON of a secret: %s", text)
	}
	for _, printed := range []string{
		fmt.Sprint(p), fmt.Sprintf("%+v %#v %s %x %q %d", p, p, p.Secret, p.Secret, p.Secret, p.Secret), log.String(), string(text), fmt.Sprint(err),
	} {
		for _, canary := range hidden {
			if strings.Contains(strings.ReplaceAll(printed, p.Handle, ""), canary) {
				t.Errorf("%s is in %s", canary, printed)
			}
		}
	}
}

// What is read is what would be written, and a text that is refused is not repeated.
func FuzzParseParameters(f *testing.F) {
	f.Add(parameters(nil).URI())
	f.Add("otpauth://totp/A:280123456789?secret=canarycanary&prefix=28")
	f.Add("otpauth://totp/Example%20Bank:280123456789?algorithm=SHA512&digits=6&handle=0123456789&issuer=Example+Bank&period=300&prefix=28&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	f.Fuzz(func(t *testing.T, uri string) {
		p, err := ParseParameters(uri)
		if err != nil {
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := ParseParameters(p.URI())
		if err != nil || again.URI() != p.URI() {
			t.Errorf("%q is read, its own %q is not: %v", uri, p.URI(), err)
		}
		if _, err := p.Code(1); err != nil {
			t.Errorf("%q: %v", uri, err)
		}
	})
}

// A code is split as it is put together, whatever it is.
func FuzzParseCode(f *testing.F) {
	codes := &PaymentCodes{cfg: Config{Prefix: "28"}}
	f.Add("28012345678912345678")
	f.Add("2801234567891234567８")
	f.Fuzz(func(t *testing.T, code string) {
		handle, password := codes.parse(code)
		if handle == "" && password == "" {
			return
		}
		if "28"+handle+password != code || len(handle) != HandleDigits || len(password) < MinDigits || len(password) > MaxDigits || !onlyDigits(handle+password) {
			t.Errorf("%q is split into %q and %q", code, handle, password)
		}
	})
}
