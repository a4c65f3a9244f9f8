//go:build soak

package terminal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screenshots, if set, has the tests write pictures of the pages to docs/images.
const screenshots = "COUNTERSIGN_SCREENSHOTS"

// A browser is a Chromium without a screen, which reaches this machine alone.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	return browser
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: install it (Debian: apt-get install chromium; Fedora: dnf install chromium; macOS: brew install chromium, and put it in PATH)")
	return ""
}

// A window shows one page, apart from the others: with storage of its own.
type window struct {
	t    *testing.T
	name string
	ctx  context.Context

	mu     sync.Mutex
	faults []string // what scripts threw and the page's policy stopped
}

// open opens a page in a window of its own, as wide as a phone or a computer.
func (f *family) open(t *testing.T, browser context.Context, name, page string, phone bool) *window {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(closeTab)
	w := &window{t: t, name: name, ctx: ctx}
	if err := chromedp.Listen(ctx, w.listen); err != nil {
		t.Fatal(err)
	}
	size := chromedp.EmulateViewport(820, 900)
	if phone {
		size = chromedp.EmulateViewport(390, 780, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	w.do(size, chromedp.Navigate(f.pages+"/"+page))
	w.sees("#persona option", "") // its script has run
	t.Cleanup(func() {
		for _, fault := range w.faults {
			t.Errorf("%s: %s", name, fault)
		}
		if t.Failed() {
			w.dump()
		}
	})
	return w
}

func (w *window) listen(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.faults = append(w.faults, (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork { // refusals are errors of the network's
			w.faults = append(w.faults, e.Entry.Text)
		}
	}
}

func (w *window) do(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		w.t.Fatalf("%s: %v", w.name, err)
	}
}

// value is that of an expression in the page. (Polling by the driver needs eval, which
// the pages' policy forbids.)
func value[T any](w *window, expression string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		w.t.Fatalf("%s: %v", w.name, err)
	}
	return v
}

// dump logs what the page shows.
func (w *window) dump() {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	w.t.Logf("%s shows (%v):\n%s", w.name, err, text)
}

// sees waits until an element has a text, and returns all of its text.
func (w *window) sees(selector, text string) string {
	w.t.Helper()
	query := fmt.Sprintf(`([...document.querySelectorAll(%s)].map((e) => e.innerText).find((t) => t !== "" && t.includes(%s)) ?? "")`, quoted(selector), quoted(text))
	w.waits(query + ` !== ""`)
	return strings.TrimSpace(value[string](w, query))
}

// waits waits until an expression in the page is true.
func (w *window) waits(expression string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if value[bool](w, expression) {
			return
		}
	}
	w.t.Fatalf("%s: it did not come to %s", w.name, expression)
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always has a form
	}
	return string(b)
}

// fills types into a form's fields, by their names, and sends it.
func (w *window) fills(form string, fields map[string]string) {
	w.t.Helper()
	for name, text := range fields {
		w.types(form+` [name="`+name+`"]`, text)
	}
	w.clicks(form + " button")
}

// types types into a field, in place of what it has.
func (w *window) types(field, text string) {
	w.t.Helper()
	value[string](w, fmt.Sprintf(`document.querySelector(%s).value = ""`, quoted(field)))
	if text != "" {
		w.do(chromedp.SendKeys(chromedp.CSS(field), text))
	}
}

// clicks presses a button by keyboard: whoever has no pointer can, too.
func (w *window) clicks(selector string) {
	w.t.Helper()
	w.do(chromedp.WaitEnabled(chromedp.CSS(selector)), chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent("\r"))
}

// swipes moves a finger over an element.
func (w *window) swipes(selector string) {
	w.t.Helper()
	w.do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	box := value[struct{ X, Y float64 }](w,
		fmt.Sprintf(`(({x, y, height}) => ({X: x + 30, Y: y + height / 2}))(document.querySelector(%s).getBoundingClientRect())`, quoted(selector)))
	touch := func(kind input.DispatchTouchEventType, points ...*input.TouchPoint) {
		w.t.Helper()
		if _, err := chromedp.Call(w.ctx, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind, TouchPoints: points}); err != nil {
			w.t.Fatalf("%s: %v", w.name, err)
		}
	}
	touch(input.DispatchTouchEventTypeTouchStart, &input.TouchPoint{X: box.X, Y: box.Y})
	touch(input.DispatchTouchEventTypeTouchMove, &input.TouchPoint{X: box.X + 60, Y: box.Y})
	touch(input.DispatchTouchEventTypeTouchMove, &input.TouchPoint{X: box.X + 120, Y: box.Y})
	touch(input.DispatchTouchEventTypeTouchEnd)
}

// picture writes what the window shows to docs/images, if that is wanted.
func (w *window) picture(name string) {
	w.t.Helper()
	if os.Getenv(screenshots) == "" {
		return
	}
	value[any](w, `scrollTo(0, 0)`)
	png, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		w.t.Fatalf("%s: %v", w.name, err)
	}
	if err := os.MkdirAll("../../docs/images", 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("../../docs/images", name+".png"), png, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// People carry out what the systems are for, in windows of a real browser, through the
// real Envoy and sidecar.
func TestByHand(t *testing.T) {
	browser := newBrowser(t)
	f := newFamily(t)
	phone := f.open(t, browser, "phone", "phone.html?persona=phone", true)
	tablet := f.open(t, browser, "tablet", "phone.html?persona=tablet", true)
	laptop := f.open(t, browser, "laptop", "computer.html?persona=laptop", false)
	phone.sees("#connection", "Connected.")
	tablet.sees("#connection", "Connected.")
	laptop.sees("#connection", "Connected.")

	verifiedPayment(f, phone, tablet, laptop)
	secondTerminal(f, phone, tablet, laptop)

	ben := f.open(t, browser, "ben", "phone.html?persona=ben", true)
	till := f.open(t, browser, "till", "till.html?persona=bakery", false)
	paymentCode(f, phone, ben, till)

	desk := f.open(t, browser, "desk", "agent.html?persona=desk", false)
	agentOrder(f, phone, desk)
	proxiedBusiness(f, phone, desk)
}

// verifiedPayment pays with codes from two phones: wrong ones first.
func verifiedPayment(f *family, phone, tablet, laptop *window) {
	t := laptop.t
	t.Helper()
	laptop.fills("#verified", map[string]string{"amount": "12.50"})
	laptop.sees("#verified-outcome .asks", "verification_required")
	phone.sees(".card[data-kind=code] .amount", "12.50 EUR")
	codes := []string{} // the laptop is a terminal of the account as well
	for _, w := range []*window{phone, tablet, laptop} {
		codes = append(codes, w.sees(".card[data-kind=code] .secret", ""))
	}
	phone.picture("phone-code")

	enter := func(code, entered string) {
		laptop.fills("#code", map[string]string{"code": code})
		laptop.sees("#entered", entered)
	}
	enter(wrong(codes), "1 entered.")
	enter(codes[0], "2 entered.")
	enter(codes[1], "3 entered.")
	laptop.clicks("#repeat")
	laptop.sees("#verified-outcome .asks", "verification_required")
	if paid := f.payments(); len(paid) != 0 {
		t.Fatalf("paid with a wrong code: %s", paid)
	}
	enter(codes[0], "4 entered.")
	enter(codes[1], "5 entered.")
	laptop.clicks("#repeat") // a set that is not whole
	laptop.sees("#verified-outcome .asks", "verification_required")
	if paid := f.payments(); len(paid) != 0 {
		t.Fatalf("paid with two of three codes: %s", paid)
	}
	enter(codes[2], "6 entered.")
	laptop.picture("computer-codes")
	laptop.clicks("#repeat")
	laptop.sees("#verified-outcome .good", "Paid: 12.50 EUR to mer_bakery.")
}

// wrong is a code that is none of these, as long as they are.
func wrong(codes []string) string {
	for n := range len(codes) + 1 {
		code := fmt.Sprintf("%0*d", len(codes[0]), n)
		if !slices.Contains(codes, code) {
			return code
		}
	}
	panic("there are more codes than digits")
}

// secondTerminal checks out on the laptop and pays on the phone: too much first.
func secondTerminal(f *family, phone, tablet, laptop *window) {
	t := laptop.t
	t.Helper()
	before := len(f.payments())
	laptop.fills("#checkout", map[string]string{"amount": "500.01"})
	phone.sees(".card[data-kind=gesture_request] .amount", "500.01 EUR")
	phone.clicks(".card[data-kind=gesture_request]:not(.over) .gesture-lift")
	phone.clicks(".card[data-kind=payment_response]:not(.over) .pay")
	phone.sees(".card[data-kind=payment_response] .error", "amount_over_payment_maximum")
	phone.sees(".card[data-kind=payment_response] .error", "Left: 500.00 EUR")
	laptop.clicks("#checkout-state button")
	laptop.sees("#checkout-state .state", "cancelled")

	laptop.fills("#checkout", map[string]string{"amount": "19.90"})
	phone.sees(".card[data-kind=gesture_request]:not(.over) .amount", "19.90 EUR")
	tablet.sees(".card[data-kind=gesture_request]:not(.over) .amount", "19.90 EUR")
	phone.picture("phone-gesture")
	phone.swipes(".card[data-kind=gesture_request]:not(.over) .pad")
	phone.sees(".card[data-kind=gesture_request] .good", "Reported: swipe.")
	phone.sees(".card[data-kind=payment_response]:not(.over) .amount", "19.90 EUR")
	tablet.sees(".card[data-kind=checkout_closed]", "This is closed")
	laptop.picture("computer-checkout")
	phone.clicks(".card[data-kind=payment_response]:not(.over) .pay")
	phone.sees(".card[data-kind=payment_response] .good", "Paid.")
	laptop.sees("#checkout-state .state", "paid")
	// Two checkouts were opened, which moves no money, and one of them was paid.
	if made := f.payments()[before:]; len(made) != 3 || !strings.HasSuffix(made[2], "/pay") {
		t.Errorf("what reached the payment service: %s", made)
	}
}

// paymentCode pays at a till with a code that a delegate's phone makes, once the owner
// has approved.
func paymentCode(f *family, owner, delegate, till *window) {
	t := till.t
	t.Helper()
	before := len(f.payments())
	f.offer(t, "anna", "ben")
	delegate.clicks("#grants-load")
	delegate.clicks("#grants .accept")
	delegate.clicks("#grants .show-code")
	digits := strings.Join(strings.Fields(delegate.sees("#grants .payment-code", "28")), "")
	if len(digits) != 20 {
		t.Fatalf("a payment code of %d digits", len(digits))
	}
	delegate.picture("phone-payment-code")

	picture := filepath.Join(t.TempDir(), "code.png")
	drawn := value[string](delegate, `document.querySelector("#grants canvas").toDataURL("image/png").split(",")[1]`)
	png, err := base64.StdEncoding.DecodeString(drawn)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(picture, png, 0o600); err != nil {
		t.Fatal(err)
	}
	till.do(chromedp.SetUploadFiles(chromedp.CSS("#scan input.picture"), []string{picture}))
	const scanned = `document.querySelector("#charge [name=payment_code]").value`
	till.waits(scanned + ` !== ""`)
	if code := value[string](till, scanned); code[:12] != digits[:12] || len(code) != 20 {
		t.Fatal("the picture shows another code than the digits")
	}
	till.fills("#charge", map[string]string{"amount": "7.50"})
	till.sees("#outcome .asks", "approval_required")
	if made := len(f.payments()) - before; made != 0 {
		t.Fatalf("%d payments before the owner approved", made)
	}
	owner.sees(".card[data-kind=approval_request] .amount", "7.50 EUR")
	owner.picture("phone-approval")
	owner.clicks(".card[data-kind=approval_request] .approve")
	owner.sees(".card[data-kind=approval_request] .good", "Approved")
	till.clicks("#repeat")
	till.sees("#outcome .good", "Paid: 7.50 EUR.")
	if made := len(f.payments()) - before; made != 1 {
		t.Errorf("%d payments", made)
	}
}

// agentOrder has an agent order for the phone's user: with a wrong code first.
func agentOrder(f *family, phone, desk *window) {
	t := desk.t
	t.Helper()
	before := len(f.payments())
	order := map[string]string{"account": "acc_anna", "payee": "mer_bakery", "amount": "8.80", "currency": "EUR", "terminal": "trm_anna-phone", "stored_code": "12345678"}
	desk.fills("#order", order)
	desk.sees("#order-outcome .error", "stored_code_invalid")
	order["stored_code"] = ""
	desk.fills("#order", order)
	desk.sees("#order-outcome .asks", "verification_required")
	phone.sees(".card[data-kind=code]:not(.over) .amount", "8.80 EUR")
	phone.clicks(".card[data-kind=code]:not(.over) .send-code")
	phone.sees(".card[data-kind=code] .good", "Sent.")
	desk.clicks("#order-repeat")
	desk.sees("#order-outcome .good", "Ordered.")
	phone.sees(".card[data-kind=deduction_request]:not(.over) .amount", "8.80 EUR")
	phone.clicks(".card[data-kind=deduction_request]:not(.over) .pay")
	phone.sees(".card[data-kind=deduction_request] .good", "Paid.")
	phone.sees(".card[data-kind=deduction_notice] .amount", "8.80 EUR")
	desk.clicks("#order-outcome button")
	desk.sees("#order-outcome .state", "paid")
	phone.clicks("#stored button")
	order["stored_code"] = phone.sees(".card[data-kind=stored_code] .secret", "")
	desk.fills("#order", order)
	desk.sees("#order-outcome .good", "Ordered.")
	// The order, its payment, and the order that asked nobody.
	if made := f.payments()[before:]; len(made) != 3 || !strings.HasSuffix(made[1], "/payments") {
		t.Errorf("what reached the services: %s", made)
	}
}

// proxiedBusiness has an agent top up the account of the phone's user.
func proxiedBusiness(f *family, phone, desk *window) {
	t := desk.t
	t.Helper()
	before := len(f.payments())
	phone.fills("#business", map[string]string{"amount": "20"})
	id := phone.sees("#business-outcome .business-id", "int_")
	phone.picture("phone-business")
	desk.types("#business-scan .pasted", "int_nothing")
	desk.clicks("#business-scan .use-pasted")
	desk.sees("#business-view .error", "intent_unknown")
	desk.types("#business-scan .pasted", id)
	desk.clicks("#business-scan .use-pasted")
	desk.sees("#business-view .amount", "20.00 EUR")
	desk.picture("agent-business")
	desk.clicks("#business-view .execute")
	desk.sees("#business-outcome .good", "Done.")
	phone.sees(".card[data-kind=business_executed] .amount", "20.00 EUR")
	// The request, and its execution.
	if made := f.payments()[before:]; len(made) != 2 || !strings.HasSuffix(made[1], "/execute") {
		t.Errorf("what reached the services: %s", made)
	}
}
