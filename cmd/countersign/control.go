package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/privatefile"
)

// besideAPI is said in the help of every group of commands that ask a sidecar.
const besideAPI = `A sidecar must be running: the command calls its control API, on control.sock in
--data or where --control says, with the token in admin-token there or in
--token-file.`

const (
	controlTimeout   = 40 * time.Second // longer than the server takes for any answer
	maxTokenFile     = 1 << 10
	maxControlAnswer = 64 << 20
)

// controlFlags are those of every command that asks a running sidecar.
type controlFlags struct {
	dataDir, address, tokenFile string
	output                      string // "text" or "json"
}

// register adds the flags.
func (f *controlFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.dataDir, "data", "countersign-data", "directory of the sidecar's store, where its control socket and the first token are")
	flags.StringVar(&f.address, "control", "", "the sidecar's control API: unix:PATH, or tcp:127.0.0.1:PORT (default: control.sock in --data)")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the token to show (default: admin-token in --data)")
	outputFlag(cmd, &f.output)
}

// client returns the client of the control API that the flags name.
func (f *controlFlags) client() (*controlClient, error) {
	address := cmp.Or(f.address, "unix:"+filepath.Join(f.dataDir, sidecar.ControlSocket))
	network, place, ok := strings.Cut(address, ":")
	if !ok || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("--control %q is neither unix:PATH nor tcp:127.0.0.1:PORT", address)
	}
	file := cmp.Or(f.tokenFile, filepath.Join(f.dataDir, sidecar.AdminTokenFile))
	token, err := privatefile.Read(file, maxTokenFile)
	mode, isMode := errors.AsType[privatefile.ModeError](err)
	switch {
	case isMode:
		return nil, fmt.Errorf("--token-file %s has the mode %04o: other users must not read it; chmod 600 it", file, uint32(mode))
	case errors.Is(err, fs.ErrNotExist) && f.tokenFile == "":
		return nil, fmt.Errorf("there is no %s: start a sidecar with this --data first (countersign serve), or name a token with --token-file", file)
	case err != nil:
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, place)
	}
	return &controlClient{
		address: address,
		secret:  strings.TrimSpace(string(token)),
		http:    &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: controlTimeout},
	}, nil
}

// A controlClient calls the control API.
type controlClient struct {
	address, secret string
	http            *http.Client
}

// A controlCall is one call.
type controlCall struct {
	method, path string
	query        url.Values
	header       http.Header
	body         any // nil: none
}

// call reads the answer into a value, if that is not nil, and returns its text.
func (c *controlClient) call(ctx context.Context, call controlCall, into any) ([]byte, error) {
	answer, err := c.send(ctx, call)
	if err != nil {
		return nil, c.explain(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxControlAnswer))
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode != http.StatusOK {
		var problem api.Problem
		if json.Unmarshal(text, &problem) != nil || problem.Code == "" {
			return nil, fmt.Errorf("%s answers %s, and is not a control API of ours", c.address, answer.Status)
		}
		return nil, &problem
	}
	if into == nil {
		return text, nil
	}
	return text, json.Unmarshal(text, into)
}

func (c *controlClient) send(ctx context.Context, call controlCall) (*http.Response, error) {
	var body io.Reader
	if call.body != nil {
		text, err := json.Marshal(call.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	target := url.URL{Scheme: "http", Host: "control", Path: call.path, RawQuery: call.query.Encode()}
	request, err := http.NewRequestWithContext(ctx, call.method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if call.header != nil {
		request.Header = call.header
	}
	if body != nil {
		request.Header.Set("content-type", "application/json")
	}
	request.Header.Set("authorization", "Bearer "+c.secret)
	return c.http.Do(request)
}

// explain says what an error of the connection means.
func (c *controlClient) explain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL, which is of no host
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no sidecar answers at %s: is one running (countersign serve), with this --data or --control? (%w)", c.address, err)
	}
	return fmt.Errorf("%s: %w", c.address, err)
}

// run makes a call and prints the answer: as it came with -o json, and else as
// text, which may be nil where there is nothing to say.
func run[T any](cmd *cobra.Command, f *controlFlags, call controlCall, text func(io.Writer, T) error) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	var answer T
	if _, err := client.call(cmd.Context(), call, &answer); err != nil {
		return err
	}
	if f.output == "json" {
		return writeJSON(cmd.OutOrStdout(), answer)
	}
	if text == nil {
		return nil
	}
	return text(cmd.OutOrStdout(), answer)
}

// getCommand looks at one noun, by its ID.
func getCommand[T any](noun, prefix, short, example string, text func(io.Writer, T) error) *cobra.Command {
	var flags controlFlags
	path := "/v1/" + noun + "s"
	cmd := &cobra.Command{
		Use:               "get ID",
		Short:             short,
		Example:           example,
		Args:              oneID(noun, prefix),
		ValidArgsFunction: completeIDs(&flags, path, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd, &flags, controlCall{method: http.MethodGet, path: path + "/" + args[0]}, text)
		},
	}
	flags.register(cmd)
	return cmd
}

// put writes a noun that is not there yet, or with replace one that is.
func put[T any](cmd *cobra.Command, f *controlFlags, noun, id string, body any, replace bool) error {
	call := controlCall{method: http.MethodPut, path: "/v1/" + noun + "s/" + id, body: body}
	if !replace {
		call.header = http.Header{"If-None-Match": {"*"}}
	}
	err := run[T](cmd, f, call, nil)
	if problem, ok := err.(*api.Problem); ok && problem.Status == http.StatusPreconditionFailed {
		return fmt.Errorf("the %s %s exists; --replace writes all of it anew", noun, id)
	}
	return err
}

// listFlags are those of every list.
type listFlags struct {
	controlFlags
	limit int
}

func (f *listFlags) register(cmd *cobra.Command) {
	f.controlFlags.register(cmd)
	cmd.Flags().IntVar(&f.limit, "limit", 0, "how many at most; 0 means all")
}

// runList asks for page after page and prints the items: each as one line of JSON
// with -o json, and else as text. Where there are none it says so.
func runList[T any](cmd *cobra.Command, f *listFlags, call controlCall, head string, text func(T) string) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	if call.query == nil {
		call.query = url.Values{}
	}
	for k, v := range call.query {
		if v[0] == "" {
			delete(call.query, k)
		}
	}
	none := noneOf(path.Base(call.path), call.query)
	out := newTable(cmd.OutOrStdout())
	for printed := 0; ; {
		size := api.MaxPage
		if f.limit > 0 {
			size = min(size, f.limit-printed)
		}
		call.query.Set("limit", strconv.Itoa(size))
		var page api.Page[T]
		if _, err := client.call(cmd.Context(), call, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if f.output == "json" {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(item); err != nil {
					return err
				}
				continue
			}
			out.line(head, text(item))
		}
		printed += len(page.Items)
		if page.Next == "" || f.limit > 0 && printed >= f.limit {
			if printed == 0 {
				sayNone(cmd, f.output, none)
			}
			return out.flush()
		}
		call.query.Set("after", page.Next)
	}
}

// noneOf says that a list has nothing, and of what: "no intents with state open".
func noneOf(nouns string, filter url.Values) string {
	var with []string
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		if value := filter.Get(name); value != "any" {
			with = append(with, name+" "+value)
		}
	}
	if len(with) == 0 {
		return "no " + nouns
	}
	return "no " + nouns + " with " + strings.Join(with, ", ")
}

// sayNone tells a person that a list is empty, beside what is printed: a program that
// reads lines, of text or of JSON, gets none.
func sayNone(cmd *cobra.Command, format, none string) {
	if format != "json" {
		cmd.PrintErrln(none)
	}
}

// require says which flags must be there.
func require(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined
		}
	}
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)

// oneID wants one argument: the ID of a noun.
func oneID(noun, prefix string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(1)(cmd, args); err != nil {
			return fmt.Errorf("%w; usage: %s", err, cmd.UseLine())
		}
		if rest, ok := strings.CutPrefix(args[0], prefix+"_"); !ok || !idForm.MatchString(rest) {
			return fmt.Errorf("%s id %q is not %s_ and letters, digits, _ or -, 64 characters at most", noun, args[0], prefix)
		}
		return nil
	}
}

// choice adds a flag with one of a few values.
func choice(cmd *cobra.Command, value *string, name, otherwise, usage string, values ...string) {
	cmd.Flags().StringVar(value, name, otherwise, usage+": "+strings.Join(values, ", "))
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is defined above
	}
}

// completeTimeout is how long a shell waits for IDs.
const completeTimeout = time.Second

// completeIDs offers a shell the IDs that a sidecar lists. Where none answers there
// is nothing to offer.
func completeIDs(f *controlFlags, path string, query url.Values) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		client, err := f.client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		asked := url.Values{"limit": {strconv.Itoa(api.MaxPage)}}
		for k, v := range query {
			asked[k] = v
		}
		var page api.Page[struct {
			ID string `json:"id"`
		}]
		if _, err := client.call(ctx, controlCall{method: http.MethodGet, path: path, query: asked}, &page); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, item := range page.Items {
			if strings.HasPrefix(item.ID, start) {
				ids = append(ids, item.ID)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
