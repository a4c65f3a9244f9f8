package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxSocketPath bounds the path of a unix socket in bytes: sun_path has 108 on
// Linux and 104 on macOS, with the final zero (unix(7), unix(4)).
const maxSocketPath = 103

// Steps of At to the parts of envoy.yaml that a Config sets.
var (
	adminPath    = []any{"admin", "address", "socket_address"}
	listenerPath = []any{"static_resources", "listeners", "ingress"}
	managerPath  = below(listenerPath, "filter_chains", 0, "filters",
		"envoy.filters.network.http_connection_manager", "typed_config")
	filtersPath = below(managerPath, "http_filters")
)

// At follows steps into a decoded configuration and returns the object there: a
// string names a field of an object, or the element of a list whose "name" it
// is; an int is a place in a list.
func At(node any, steps ...any) (map[string]any, error) {
	for i, step := range steps {
		next := child(node, step)
		if next == nil {
			return nil, fmt.Errorf("envoy: nothing at %v", steps[:i+1])
		}
		node = next
	}
	object, ok := node.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("envoy: %v is not an object", steps)
	}
	return object, nil
}

func child(node, step any) any {
	switch key := step.(type) {
	case int:
		if list, ok := node.([]any); ok && key >= 0 && key < len(list) {
			return list[key]
		}
	case string:
		switch node := node.(type) {
		case map[string]any:
			return node[key]
		case []any:
			for _, element := range node {
				if object, ok := element.(map[string]any); ok && object["name"] == key {
					return object
				}
			}
		}
	}
	return nil
}

// Manager returns the HTTP connection manager of the listener: routes, filters
// and how requests are read.
func Manager(root map[string]any) (map[string]any, error) {
	return At(root, managerPath...)
}

// Filter returns the typed_config of the named HTTP filter.
func Filter(root map[string]any, name string) (map[string]any, error) {
	return At(root, below(filtersPath, name, "typed_config")...)
}

// Cluster returns the named upstream cluster.
func Cluster(root map[string]any, name string) (map[string]any, error) {
	return At(root, "static_resources", "clusters", name)
}

// render makes the configuration file of one Envoy: envoy.yaml with the values
// of cfg in place, and then whatever cfg.Edit does. It is JSON, which Envoy
// reads without YAML's guesses about types.
func render(cfg Config) ([]byte, error) {
	for _, socket := range []string{cfg.Socket, cfg.API} {
		if len(socket) > maxSocketPath {
			return nil, fmt.Errorf("envoy: the socket's path has %d bytes, at most %d work (use a shorter directory): %s",
				len(socket), maxSocketPath, socket)
		}
	}
	host, portText, err := net.SplitHostPort(cfg.Upstream)
	if err != nil {
		return nil, fmt.Errorf("envoy: upstream: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("envoy: upstream: %w", err)
	}
	var root map[string]any
	if err := yaml.Unmarshal(withTLS(cfg.TLS), &root); err != nil {
		return nil, fmt.Errorf("envoy: envoy.yaml: %w", err)
	}
	type value struct {
		field string
		value any
		at    []any
	}
	for _, v := range []value{
		{"port_value", 0, adminPath},
		{"port_value", cfg.Port, below(listenerPath, "address", "socket_address")},
		{"path", cfg.Socket, below(endpointPath("countersign"), "pipe")},
		{"address", host, below(endpointPath("payments"), "socket_address")},
		{"port_value", port, below(endpointPath("payments"), "socket_address")},
		{"inline_string", string(cfg.JWKS), below(filtersPath, "envoy.filters.http.jwt_authn",
			"typed_config", "providers", "id", "local_jwks")},
	} {
		object, err := At(root, v.at...)
		if err != nil {
			return nil, err
		}
		if _, ok := object[v.field]; !ok {
			return nil, fmt.Errorf("envoy: envoy.yaml has no %s at %v", v.field, v.at)
		}
		object[v.field] = v.value
	}
	for _, cluster := range []string{"countersign_api", "countersign_messages"} {
		if cfg.API == "" {
			break
		}
		api, err := At(root, below(endpointPath(cluster), "pipe")...)
		if err != nil {
			return nil, err
		}
		api["path"] = cfg.API
	}
	if cfg.Edit != nil {
		cfg.Edit(root)
	}
	return json.Marshal(root)
}

// withTLS returns envoy.yaml as an operator has it with TLS, whose files are in dir; as
// it is where dir is empty.
func withTLS(dir string) []byte {
	if dir == "" {
		return configYAML
	}
	lines := bytes.ReplaceAll(tlsYAML, []byte(tlsDir), []byte(dir))
	return bytes.Replace(configYAML, []byte(tlsMarker), append([]byte(tlsMarker), lines...), 1)
}

// below appends steps to a copy of path.
func below(path []any, steps ...any) []any {
	return slices.Concat(path, steps)
}

// endpointPath is where the only endpoint of a cluster has its address.
func endpointPath(cluster string) []any {
	return []any{"static_resources", "clusters", cluster,
		"load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint", "address"}
}
