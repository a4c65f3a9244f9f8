package envoy

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
)

// helpers are what this test binary does when it is started as another process,
// by the name in $ENVOY_TEST_HELPER.
var helpers = map[string]func(){
	"panic": startAndPanic,
}

// startAndPanic prints the process id of an Envoy, waits for a line on standard
// input and dies without stopping it.
func startAndPanic() {
	e, err := Start(context.Background(), Config{Socket: "/nowhere", Upstream: "127.0.0.1:1", JWKS: []byte(`{"keys":[]}`),
		Edit: func(root map[string]any) {
			filters := object(Manager(root))["http_filters"].([]any)
			object(Manager(root))["http_filters"] = filters[1:] // it has no key to verify with
		}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(e.PID())
	fmt.Scanln()
	panic("the test binary dies")
}

// writeZip makes an archive of one file.
func writeZip(path, name, text string) error {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, z.Close(), os.WriteFile(path, b.Bytes(), 0o644))
}
