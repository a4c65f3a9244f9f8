package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/sidecar/outbox"
)

const messages = "/countersign/v1/messages"

// messageTimeout bounds how long a message may take to arrive. It is written with the
// decision, so it is there at once.
const messageTimeout = 10 * time.Second

// gets is a step by which a terminal reads its new messages, as it would: as a stream of
// events, through Envoy.
func gets(says, terminal string, kinds ...string) step {
	return step{says: says, caller: terminal, method: http.MethodGet, path: messages, key: noKey, gets: kinds, status: http.StatusOK}
}

// readMessages reads as many messages as a step expects, after those that the terminal
// has had.
func (w *world) readMessages(ctx context.Context, s step) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, messageTimeout)
	defer cancel()
	req, err := w.request(ctx, s)
	if err != nil {
		return answer{}, err
	}
	if number := w.read[s.caller]; number > 0 {
		req.Header.Set("last-event-id", strconv.FormatUint(number, 10))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, decisionID: resp.Header.Get("countersign-decision-id")}
	if a.status != http.StatusOK {
		return a, nil
	}
	var kinds []string
	for stream := bufio.NewReader(resp.Body); len(kinds) < len(s.gets); {
		m, err := nextMessage(stream)
		if err != nil {
			return answer{}, fmt.Errorf("%d messages to %s, not %d: %w", len(kinds), s.caller, len(s.gets), err)
		}
		kinds = append(kinds, m.Kind)
		w.learnMessage(s.caller, m)
		a.told += told(m)
	}
	a.messages = strings.Join(kinds, ", ")
	return a, nil
}

// told is a line about what a message says. The code in it is for the terminal alone.
func told(m outbox.Envelope) string {
	line := "\n       " + m.Kind
	if m.AmountMinor > 0 {
		line += fmt.Sprintf(", %s %s", euros(m.AmountMinor), m.Currency)
	}
	for _, part := range []struct{ says, name string }{
		{" to ", m.Payee}, {", asked by ", m.Requester.Subject}, {": ", m.Details["gesture"]}, {": ", m.Details["mode"]},
		{", for ", m.Details["delegate"]}, {" through ", m.Details["agent_account"]},
	} {
		if part.name != "" {
			line += part.says + part.name
		}
	}
	return line
}

// nextMessage reads the next event of a stream, past the signs of life.
func nextMessage(stream *bufio.Reader) (m outbox.Envelope, err error) {
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			return m, err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return m, json.Unmarshal([]byte(data), &m)
		}
	}
}

// learnMessage keeps what a terminal was told: {TERMINAL.code} is the newest code that it
// got, {TERMINAL.wrong} another one, {TERMINAL.intent} what its newest message is about;
// {low} and {high} are the codes of the newest challenge, as numbers.
func (w *world) learnMessage(terminal string, m outbox.Envelope) {
	w.read[terminal] = m.Number
	if m.Intent != "" {
		w.names[terminal+".intent"] = m.Intent
	}
	if m.Code == "" {
		return
	}
	w.names[terminal+".code"], w.names[terminal+".wrong"] = m.Code, wrong(m.Code)
	w.codes[m.Challenge] = append(w.codes[m.Challenge], m.Code)
	w.names["low"], w.names["high"] = slices.Min(w.codes[m.Challenge]), slices.Max(w.codes[m.Challenge])
}

// wrong is a code with another last digit.
func wrong(code string) string {
	last := len(code) - 1
	return code[:last] + string('0'+(code[last]-'0'+1)%10)
}
