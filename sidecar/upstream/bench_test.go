package upstream

import "testing"

func BenchmarkSign(b *testing.B) {
	for name, key := range map[string]Key{"HS256": sharedKey, "EdDSA": edKey} {
		b.Run(name, func(b *testing.B) {
			s, c := signerWith(key), goodClaims()
			for b.Loop() {
				if _, err := s.Sign(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, key := range map[string]Key{"HS256": sharedKey, "EdDSA": edKey} {
		b.Run(name, func(b *testing.B) {
			token, v := must(signerWith(key).Sign(goodClaims())), verifier(key)
			for b.Loop() {
				if _, err := v.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
