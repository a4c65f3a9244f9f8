package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// plainOPA does for each request what a generic integration of OPA does: the
// whole CheckRequest goes through JSON and becomes `input`, package rego
// evaluates it, and the decision log gets all of it.
type plainOPA struct {
	authv3.UnimplementedAuthorizationServer
	query rego.PreparedEvalQuery
	// tuned takes what a generic integration can have for little: the input as
	// an ast.Value (as OPA's own Envoy plugin does; package rego takes a map
	// through JSON once more), data that stays ast.Values, goroutines that serve
	// more than one request, so that their stacks are not grown anew, and fewer
	// garbage collections, each of which also shrinks those stacks.
	tuned bool
	log   bool
	lines *logFile // nil for no log
}

const (
	streamWorkers  = 64 // as many as Countersign has
	tunedGCPercent = 400
)

//go:embed plainopa.rego
var adapter string

func (s plainOPA) run(ctx context.Context, p place) (err error) {
	if s.query, err = preparePlainOPA(ctx, p.policies(), s.tuned); err != nil {
		return err
	}
	if s.log {
		if s.lines, err = openLog(p.dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.lines.Close()) }()
	}
	if s.tuned {
		defer debug.SetGCPercent(debug.SetGCPercent(tunedGCPercent))
		return serveGRPC(ctx, p.socket, &s, grpc.NumStreamWorkers(streamWorkers))
	}
	return serveGRPC(ctx, p.socket, &s)
}

// preparePlainOPA prepares the adapter and the same bundle that Countersign
// decides by, over the same accounts.
func preparePlainOPA(ctx context.Context, dir string, tuned bool) (rego.PreparedEvalQuery, error) {
	if err := writeBundle(dir); err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	rules, data, err := readBundle(os.DirFS(dir))
	if err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	data["accounts"] = accountData()
	options := []func(*rego.Rego){
		rego.Query("data.bench.decision"),
		rego.Module("plainopa.rego", adapter),
		rego.Store(inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(tuned))),
		rego.StrictBuiltinErrors(true),
	}
	for name, source := range rules {
		options = append(options, rego.Module(name, source))
	}
	return rego.New(options...).PrepareForEval(ctx)
}

func (s *plainOPA) Check(ctx context.Context, check *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	id := "dec_" + strings.ToLower(rand.Text())
	input, err := inputOf(check)
	if err != nil {
		return nil, err
	}
	decision, err := s.eval(ctx, input)
	if err != nil {
		return nil, err
	}
	if s.lines != nil {
		if err := s.record(id, input, decision); err != nil {
			return nil, err
		}
	}
	if decision["allow"] == true {
		return allow(id), nil
	}
	reasons, err := reasonsOf(decision)
	if err != nil {
		return nil, err
	}
	return deny(id, reasons)
}

func (s *plainOPA) eval(ctx context.Context, input map[string]any) (map[string]any, error) {
	option := rego.EvalInput(input)
	if s.tuned {
		value, err := ast.InterfaceToValue(input)
		if err != nil {
			return nil, err
		}
		option = rego.EvalParsedInput(value)
	}
	results, err := s.query.Eval(ctx, option)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errors.New("undefined decision")
	}
	decision, ok := results[0].Expressions[0].Value.(map[string]any)
	if !ok {
		return nil, errors.New("the decision is not an object")
	}
	return decision, nil
}

func reasonsOf(decision map[string]any) ([]reason, error) {
	list, ok := decision["public_reasons"].([]any)
	if !ok {
		return nil, errors.New("public_reasons is not a list")
	}
	var reasons []reason
	for _, element := range list {
		object, _ := element.(map[string]any)
		code, _ := object["code"].(string)
		message, _ := object["message"].(string)
		limit, _ := object["limit"].(string)
		reasons = append(reasons, reason{code, message, limit, object["remaining_minor"]})
	}
	return reasons, nil
}

func (s *plainOPA) record(id string, input, result map[string]any) error {
	line, err := json.Marshal(map[string]any{
		"decision_id": id,
		"timestamp":   time.Now().UTC(),
		"path":        "payments/decision",
		"input":       input,
		"result":      result,
	})
	if err != nil {
		return err
	}
	_, err = s.lines.Write(append(line, '\n'))
	return err
}

// inputOf is the input as the users of OPA's Envoy plugin know it.
func inputOf(check *authv3.CheckRequest) (map[string]any, error) {
	text, err := protojson.Marshal(check)
	if err != nil {
		return nil, err
	}
	var input map[string]any
	if err := util.UnmarshalJSON(text, &input); err != nil {
		return nil, err
	}
	h := check.GetAttributes().GetRequest().GetHttp()
	target, err := url.Parse(h.GetPath())
	if err != nil {
		return nil, err
	}
	path := []any{}
	for segment := range strings.SplitSeq(strings.TrimLeft(target.Path, "/"), "/") {
		path = append(path, segment)
	}
	query := map[string]any{}
	for name, values := range target.Query() {
		query[name] = values
	}
	body, truncated, err := bodyOf(h)
	if err != nil {
		return nil, err
	}
	input["version"] = map[string]any{"ext_authz": "v3", "encoding": "protojson"}
	input["parsed_path"] = path
	input["parsed_query"] = query
	input["parsed_body"] = body
	input["truncated_body"] = truncated
	return input, nil
}

func bodyOf(h *authv3.AttributeContext_HttpRequest) (body any, truncated bool, err error) {
	headers, text := h.GetHeaders(), h.GetBody()
	if !strings.Contains(headers["content-type"], "application/json") || text == "" {
		return nil, false, nil
	}
	if length, ok := headers["content-length"]; ok {
		n, err := strconv.Atoi(length)
		if err != nil {
			return nil, false, fmt.Errorf("content-length: %w", err)
		}
		if n > len(text) {
			return nil, true, nil
		}
	}
	err = util.UnmarshalJSON([]byte(text), &body)
	return body, false, err
}
