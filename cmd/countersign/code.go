package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/privatefile"
	"github.com/countersign/countersign/sidecar/symbol"
)

// maxParametersBytes is of a file with parameters.
const maxParametersBytes = 4 << 10

func codeCommand() *cobra.Command {
	var output string
	var once bool
	cmd := &cobra.Command{
		Use:   "code FILE",
		Short: "Show payment codes as a delegate's device does",
		Long: `Show the payment code of this moment, as a text and as a QR code, and how long it
will be shown: what an app on the delegate's device does, without a network.

FILE holds the parameters, an otpauth:// URI with prefix and handle, as the delegate
got them after accepting a grant. It is a secret: only you may have access to the
file. With - the URI is read from the standard input. It is never an argument,
because everybody sees those.

A code pays once. It is accepted while it is shown and for one period more.`,
		Example: `  countersign code ben.otpauth
  countersign code --once - < ben.otpauth
  curl -s … | jq -r .uri | countersign code -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readParameters(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if once || output == "json" {
				return writeCode(cmd.OutOrStdout(), p, time.Now(), output)
			}
			return showCodes(cmd.Context(), cmd.OutOrStdout(), p)
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&once, "once", false, "print the code of this moment alone, and end; so does -o json")
	return cmd
}

// readParameters reads an otpauth URI from a file, or from in for "-". Errors repeat
// nothing of it: it is a secret.
func readParameters(name string, in io.Reader) (evidence.Parameters, error) {
	if strings.HasPrefix(name, "otpauth:") {
		return evidence.Parameters{}, errors.New("the parameters are an argument, which others on this machine can see: write them to a file that only you can read, or to the standard input (-)")
	}
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(in, maxParametersBytes+1))
	} else {
		text, err = privatefile.Read(name, maxParametersBytes)
	}
	if mode, ok := errors.AsType[privatefile.ModeError](err); ok {
		return evidence.Parameters{}, fmt.Errorf("%s has the mode %04o: it holds a secret, others must not read it; chmod 600 it", name, uint32(mode))
	}
	if err != nil {
		return evidence.Parameters{}, fmt.Errorf("parameters in %s: %w", name, err)
	}
	return evidence.ParseParameters(strings.TrimSpace(string(text)))
}

// A shownCode is the code of one moment.
type shownCode struct {
	Code string `json:"code"`
	// ShownUntilNanos is when the next code takes its place; it is accepted until
	// AcceptedUntilNanos, one period later. Both exclusive.
	ShownUntilNanos    int64 `json:"shown_until_ns"`
	AcceptedUntilNanos int64 `json:"accepted_until_ns"`
}

func codeAt(p evidence.Parameters, now time.Time) (shownCode, error) {
	step := p.Step(now.UnixNano())
	code, err := p.Code(step)
	return shownCode{code, p.StepEndNanos(step), p.StepEndNanos(step + 1)}, err
}

func writeCode(out io.Writer, p evidence.Parameters, now time.Time, output string) error {
	code, err := codeAt(p, now)
	if err != nil {
		return err
	}
	if output == "json" {
		return writeJSON(out, code)
	}
	_, err = fmt.Fprintln(out, code.Code)
	return err
}

// showCodes shows one code after another until ctx ends.
func showCodes(ctx context.Context, out io.Writer, p evidence.Parameters) error {
	if file, ok := out.(*os.File); !ok || !isTerminal(file) {
		return errors.New("the standard output is not a terminal: use --once, or -o json")
	}
	for {
		now := time.Now()
		screen, err := codeScreen(p, now)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, screen); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // the owner of the device looked long enough
		case <-time.After(now.Truncate(time.Second).Add(time.Second).Sub(now)):
		}
	}
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// codeScreen is everything that a terminal shows of one moment. It starts by clearing
// what was there (ECMA-48: CUP, ED).
func codeScreen(p evidence.Parameters, now time.Time) (string, error) {
	code, err := codeAt(p, now)
	if err != nil {
		return "", err
	}
	qr, err := symbol.QR(code.Code)
	if err != nil {
		return "", err
	}
	const bar = 30 // characters
	left := time.Duration(code.ShownUntilNanos - now.UnixNano())
	full := int(left * bar / (time.Duration(p.PeriodSeconds) * time.Second))
	return fmt.Sprintf("\x1b[H\x1b[2J%s pays with\n\n%s\n  %s\n\n  %s%s %d s\n\nA code pays once. Ctrl-C ends this.\n",
		p.Issuer, qr.Blocks(), grouped(code.Code), strings.Repeat("█", full), strings.Repeat("░", bar-full), int(left.Round(time.Second)/time.Second)), nil
}

// grouped is a code in groups of four digits, to be read out.
func grouped(code string) string {
	var groups []string
	for len(code) > 4 {
		groups, code = append(groups, code[:4]), code[4:]
	}
	return strings.Join(append(groups, code), " ")
}
