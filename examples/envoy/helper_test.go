package envoy

// helpers are what this test binary does when it is started as another process,
// by the name in $ENVOY_TEST_HELPER.
var helpers = map[string]func(){}
