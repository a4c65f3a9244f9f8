package decide

import (
	"fmt"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	keyID        = policy.NewKey("id")
	keyOwner     = policy.NewKey("owner")
	keyDelegate  = policy.NewKey("delegate")
	keyState     = policy.NewKey("state")
	keyDelegates = policy.NewKey("delegates")
	keyOpen      = policy.NewKey("open")

	keyCurrency       = policy.NewKey("currency")
	keyMaxPayment     = policy.NewKey("max_payment_minor")
	keyLimits         = policy.NewKey("limits")
	keyValidFrom      = policy.NewKey("valid_from")
	keyValidTo        = policy.NewKey("valid_to")
	keyMerchants      = policy.NewKey("merchants")
	keyCategories     = policy.NewKey("categories")
	keyCountries      = policy.NewKey("countries")
	keyChannels       = policy.NewKey("channels")
	keyHours          = policy.NewKey("hours")
	keyCooling        = policy.NewKey("cooling")
	keyDelegation     = policy.NewKey("delegation")
	keyRefundRestores = policy.NewKey("refund_restores")
	keyRaises         = policy.NewKey("raises")
	keyOfferedAt      = policy.NewKey("offered_at_ns")
	keyAcceptedAt     = policy.NewKey("accepted_at_ns")
	keyChangedAt      = policy.NewKey("changed_at_ns")

	keyCategory = policy.NewKey("category")
	keyCountry  = policy.NewKey("country")
	keyChannel  = policy.NewKey("channel")

	keyName           = policy.NewKey("name")
	keyAmount         = policy.NewKey("amount")
	keyCount          = policy.NewKey("count")
	keyMode           = policy.NewKey("mode")
	keyMax            = policy.NewKey("max")
	keyMaxMinor       = policy.NewKey("max_minor")
	keyRemaining      = policy.NewKey("remaining")
	keyRemainingMinor = policy.NewKey("remaining_minor")
	keyPeriod         = policy.NewKey("period")
	keyStartsAt       = policy.NewKey("starts_at_ns")
	keyResetsAt       = policy.NewKey("resets_at_ns")
	keyWindowFull     = policy.NewKey("window_full")
	keyWindowSeconds  = policy.NewKey("window_seconds")
	keyAlignment      = policy.NewKey("alignment")
	keyZone           = policy.NewKey("zone")
	keyWeekStart      = policy.NewKey("week_start")

	keyAt           = policy.NewKey("at_ns")
	keyValues       = policy.NewKey("values")
	keyFromMinute   = policy.NewKey("from_minute")
	keyToMinute     = policy.NewKey("to_minute")
	keyMinuteNow    = policy.NewKey("minute_now")
	keyMinuteBegins = policy.NewKey("minute_begins")
	keyUntil        = policy.NewKey("until_ns")
)

func accountValue(a authzstore.Account, f Facts, nowNanos int64) policy.Value {
	return policy.Object(
		policy.Member{Key: keyID, Value: policy.String(a.ID)},
		policy.Member{Key: keyOwner, Value: identityValue(a.Owner)},
		policy.Member{Key: keyState, Value: policy.String(string(a.State))},
		policy.Member{Key: keyCurrency, Value: policy.String(a.Currency)},
		policy.Member{Key: keyMaxPayment, Value: policy.Int(a.MaxPaymentMinor)},
		policy.Member{Key: keyLimits, Value: limitsValue(a.Limits, f.Usage, a.CreatedAtNanos, nowNanos)},
		policy.Member{Key: keyDelegates, Value: policy.Object(
			policy.Member{Key: keyOpen, Value: policy.Int(int64(len(f.Delegates.Open)))},
		)},
		policy.Member{Key: keyVerification, Value: verificationValue(f.Verification)},
	)
}

func grantValue(g authzstore.Grant, u authzstore.Usage, nowNanos int64) policy.Value {
	t, consentNanos := g.Terms, g.AcceptedAtNanos
	if !g.Accepted() {
		consentNanos = nowNanos // as it would be, were it accepted now
	}
	return policy.Object(
		policy.Member{Key: keyID, Value: policy.String(g.ID)},
		policy.Member{Key: keyAccount, Value: policy.String(g.Account)},
		policy.Member{Key: keyOwner, Value: identityValue(g.Owner)},
		policy.Member{Key: keyDelegate, Value: identityValue(g.Delegate)},
		policy.Member{Key: keyState, Value: policy.String(string(g.State))},
		policy.Member{Key: keyCurrency, Value: policy.String(t.Currency)},
		policy.Member{Key: keyMaxPayment, Value: policy.Int(t.MaxPaymentMinor)},
		policy.Member{Key: keyLimits, Value: limitsValue(t.Limits, u, consentNanos, nowNanos)},
		policy.Member{Key: keyValidFrom, Value: instantValue(t.ValidFrom)},
		policy.Member{Key: keyValidTo, Value: instantValue(t.ValidTo)},
		policy.Member{Key: keyMerchants, Value: filterValue(t.Merchants)},
		policy.Member{Key: keyCategories, Value: filterValue(t.Categories)},
		policy.Member{Key: keyCountries, Value: filterValue(t.Countries)},
		policy.Member{Key: keyChannels, Value: filterValue(t.Channels)},
		policy.Member{Key: keyHours, Value: hoursValue(t.Hours, nowNanos)},
		policy.Member{Key: keyCooling, Value: coolingValue(g, u, nowNanos)},
		policy.Member{Key: keyDelegation, Value: policy.String(t.Delegation)},
		policy.Member{Key: keyRefundRestores, Value: policy.Bool(t.RefundRestores)},
		policy.Member{Key: keyRaises, Value: raisesValue(g.Raises)},
		policy.Member{Key: keyOfferedAt, Value: policy.Int(g.OfferedAtNanos)},
		policy.Member{Key: keyAcceptedAt, Value: intUnlessZero(g.AcceptedAtNanos)},
		policy.Member{Key: keyChangedAt, Value: intUnlessZero(g.ChangedAtNanos)},
	)
}

// limitsValue says of each limit what remains of it, or outright that it bounds
// nothing: a member that is missing must never read as "no limit".
func limitsValue(limits []authzstore.Limit, u authzstore.Usage, consentNanos, nowNanos int64) policy.Value {
	values := make([]policy.Value, 0, len(limits))
	for _, l := range limits {
		room := l.Remaining(u, consentNanos, nowNanos)
		values = append(values, policy.Object(
			policy.Member{Key: keyName, Value: policy.String(l.Name)},
			policy.Member{Key: keyPeriod, Value: periodValue(l.Period)},
			policy.Member{Key: keyAmount, Value: bound(keyMaxMinor, l.MaxAmountMinor, keyRemainingMinor, policy.Int(room.Minor))},
			policy.Member{Key: keyCount, Value: bound(keyMax, l.MaxCount, keyRemaining, policy.Int(room.Count))},
			policy.Member{Key: keyStartsAt, Value: intUnlessZero(room.StartsAtNanos)},
			policy.Member{Key: keyResetsAt, Value: intUnlessZero(room.ResetsAtNanos)},
			policy.Member{Key: keyWindowFull, Value: policy.Bool(room.WindowFull)},
		))
	}
	return policy.Array(values...)
}

// bound is a maximum with what remains of it, where that is asked for.
func bound(maxKey policy.Key, atMost int64, remainingKey policy.Key, remaining policy.Value) policy.Value {
	if atMost == 0 {
		return policy.Object(policy.Member{Key: keyMode, Value: policy.String("any")})
	}
	return policy.Object(
		policy.Member{Key: keyMode, Value: policy.String("at_most")},
		policy.Member{Key: maxKey, Value: policy.Int(atMost)},
		policy.Member{Key: remainingKey, Value: remaining},
	)
}

func periodValue(p authzstore.Period) policy.Value {
	kind := p.Kind
	if kind == "" { // written before limits had periods
		kind = authzstore.Lifetime
	}
	return policy.Object(
		policy.Member{Key: keyKind, Value: policy.String(string(kind))},
		policy.Member{Key: keyAlignment, Value: textUnlessEmpty(string(p.Alignment))},
		policy.Member{Key: keyZone, Value: textUnlessEmpty(p.Zone)},
		policy.Member{Key: keyWeekStart, Value: textUnlessEmpty(p.WeekStart)},
		policy.Member{Key: keyWindowSeconds, Value: intUnlessZero(p.WindowSeconds)},
	)
}

func instantValue(i authzstore.Instant) policy.Value {
	return policy.Object(
		policy.Member{Key: keyMode, Value: policy.String(i.Mode)},
		policy.Member{Key: keyAt, Value: intUnlessZero(i.AtNanos)},
	)
}

func filterValue(f authzstore.Filter) policy.Value {
	var values policy.Value
	if f.Mode != authzstore.ModeAny {
		all := make([]policy.Value, 0, len(f.Values))
		for _, v := range f.Values {
			all = append(all, policy.String(v))
		}
		values = policy.Array(all...)
	}
	return policy.Object(
		policy.Member{Key: keyMode, Value: policy.String(f.Mode)},
		policy.Member{Key: keyValues, Value: values},
	)
}

// hoursValue is in minutes of the day that the zone's clocks show.
func hoursValue(h authzstore.Hours, nowNanos int64) policy.Value {
	members := []policy.Member{{Key: keyMode, Value: policy.String(h.Mode)}}
	if h.Mode != authzstore.ModeAny {
		from, to, err := h.Minutes()
		if err != nil {
			panic(fmt.Errorf("%w: stored hours: %w", authzstore.ErrDamaged, err)) // no setter writes such
		}
		now, begins := h.Minute(nowNanos)
		members = append(members,
			policy.Member{Key: keyFromMinute, Value: policy.Int(int64(from))},
			policy.Member{Key: keyToMinute, Value: policy.Int(int64(to))},
			policy.Member{Key: keyMinuteNow, Value: policy.Int(int64(now))},
			policy.Member{Key: keyMinuteBegins, Value: policy.Bool(begins)},
		)
	}
	return policy.Object(members...)
}

// coolingValue says until when the time after acceptance is, and what remains in it;
// neither before the acceptance.
func coolingValue(g authzstore.Grant, u authzstore.Usage, nowNanos int64) policy.Value {
	c := g.Terms.Cooling
	members := []policy.Member{
		{Key: keyMode, Value: policy.String(c.Mode)},
		{Key: keyMaxMinor, Value: intUnlessZero(c.MaxAmountMinor)},
	}
	if c.Mode == authzstore.ModeFirst && g.Accepted() {
		room, _ := c.Remaining(u, g.AcceptedAtNanos, g.AcceptedAtNanos) // in it, also once it is over
		members = append(members,
			policy.Member{Key: keyUntil, Value: policy.Int(room.ResetsAtNanos)},
			policy.Member{Key: keyRemainingMinor, Value: policy.Int(room.Minor)},
		)
	}
	return policy.Object(members...)
}

func raisesValue(raises []authzstore.Raise) policy.Value {
	values := make([]policy.Value, 0, len(raises))
	for _, r := range raises {
		limits := make([]policy.Value, 0, len(r.Limits))
		for _, l := range r.Limits {
			limits = append(limits, policy.Object(
				policy.Member{Key: keyName, Value: policy.String(l.Name)},
				policy.Member{Key: keyPeriod, Value: periodValue(l.Period)},
				policy.Member{Key: keyAmount, Value: bound(keyMaxMinor, l.MaxAmountMinor, keyRemainingMinor, policy.Value{})},
				policy.Member{Key: keyCount, Value: bound(keyMax, l.MaxCount, keyRemaining, policy.Value{})},
			))
		}
		values = append(values, policy.Object(
			policy.Member{Key: keyAt, Value: policy.Int(r.AtNanos)},
			policy.Member{Key: keyMaxPayment, Value: policy.Int(r.MaxPaymentMinor)},
			policy.Member{Key: keyLimits, Value: policy.Array(limits...)},
			policy.Member{Key: keyDelegation, Value: policy.String(r.Delegation)},
		))
	}
	return policy.Array(values...)
}

func merchantValue(m authzstore.Merchant, channel string) policy.Value {
	return policy.Object(
		policy.Member{Key: keyID, Value: policy.String(m.ID)},
		policy.Member{Key: keyState, Value: policy.String(string(m.State))},
		policy.Member{Key: keyCategory, Value: policy.String(m.Category)},
		policy.Member{Key: keyCountry, Value: policy.String(m.Country)},
		policy.Member{Key: keyChannel, Value: policy.String(channel)},
	)
}
