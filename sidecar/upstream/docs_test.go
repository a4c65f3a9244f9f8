package upstream

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// docs/upstream.md has a verifier in Python: it takes our tokens, and no others.
func TestDocsPython(t *testing.T) {
	docs, err := os.ReadFile("../../docs/upstream.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(docs)
	if program == nil {
		t.Fatal("no Python in the docs")
	}
	const driver = `
import sys
secret, kid, issuer, audience, method, host, target, body = sys.argv[1:]
for token in sys.stdin.read().split("\n"):
    try:
        claims = verify(token, secret.encode(), kid, issuer, audience)
        print(claims["payee"], claims["amount_minor"], is_the_call(claims, method, host, target, body.encode()))
    except ValueError as e:
        print("refused")
`
	c, s := goodClaims(), signerWith(sharedKey)
	s.Now = time.Now
	good := must(s.Sign(c))
	late, foreign, other, changed := signerWith(sharedKey), must(NewSigner("sto_other", map[string]Key{testAudience: sharedKey})), signerWith(otherKey), goodClaims()
	other.Now = time.Now
	late.Now = func() time.Time { return time.Now().Add(-40 * time.Second) }
	changed.Target = "/"
	tokens := []struct{ token, want string }{
		{good, c.Payee + " 1250 True"},
		{must(s.Sign(changed)), c.Payee + " 1250 False"},
		{must(late.Sign(c)), "refused"},
		{must(foreign.Sign(c)), "refused"},
		{must(other.Sign(c)), "refused"},
		{strings.Replace(good, ".", ".x", 1), "refused"},
		{good + "." + good, "refused"},
		{b64(toJSON(with(goodHeader(), map[string]any{"alg": "none"}))) + "." + strings.Split(good, ".")[1] + ".", "refused"},
		{"", "refused"},
	}
	var stdin, want []string
	for _, c := range tokens {
		stdin, want = append(stdin, c.token), append(want, c.want)
	}
	cmd := exec.Command("python3", "-c", string(program[1])+driver,
		string(secret), sharedKey.ID(), testIssuer, testAudience, c.Method, c.Authority, c.Target, goodBody)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	cmd.Stdin = strings.NewReader(strings.Join(stdin, "\n"))
	out, err := cmd.CombinedOutput()
	if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != strings.Join(want, "\n") {
		t.Errorf("%v\n%s\nwant\n%s", err, got, strings.Join(want, "\n"))
	}
}
