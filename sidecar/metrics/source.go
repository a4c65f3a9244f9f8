package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign/countersign/sidecar/bundle"
)

// Source is what is asked whenever somebody looks. All of it is required.
type Source struct {
	// Serving tells whether calls are being decided.
	Serving func() bool
	// InFlight is how many calls are.
	InFlight func() int
	// Bundle says which bundle decides.
	Bundle func() bundle.Status
	// Clock is why nobody knows what time it is; nil where it is known.
	Clock func() error
	// Store says how the store is.
	Store func() Store
	// RecordsLeftOut is how many records the decision log lacks.
	RecordsLeftOut func() int64
	// Messages says how messages are delivered.
	Messages func() Messages
}

// Messages is what was delivered since the start, and is being delivered.
type Messages struct {
	Delivered int64 // webhooks that were taken
	Failed    int64 // tries that were not
	Dead      int64 // messages that were given up
	Waiting   int   // terminals with something to be delivered by webhook
	Streams   int   // that are open
	Streamed  int64 // events in them
	LeftOut   int64 // messages that the message log lacks
}

// Store is how the store is.
type Store struct {
	Failed              bool // nothing is decided until the process starts again
	LastSeq             uint64
	AppliedSeq          uint64 // up to where the state has the journal
	Batches             uint64
	Transactions        uint64 // that wrote
	JournalBytes        int64
	UndurableBytes      int64
	UnappliedBytes      int64
	WaitingForRecords   int // transactions
	PausedForWantOfDisk bool
}

// A sample is all of a Source at one moment.
type sample struct {
	Source
	bundle   bundle.Status
	store    Store
	messages Messages
}

// A sampled is a metric made of a sample.
type sampled struct {
	name  string
	help  string
	kind  prometheus.ValueType
	value func(sample) float64
}

func (s sampled) desc() *prometheus.Desc { return prometheus.NewDesc(prefix+s.name, s.help, nil, nil) }

var samples = []sampled{
	{"serving", "1 while calls are decided.", prometheus.GaugeValue, func(s sample) float64 { return number(s.Serving()) }},
	{"calls_in_flight", "Calls that are being decided.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.InFlight()) }},
	{"clock_uncertain", "1 while nobody knows the time, and nothing is decided.", prometheus.GaugeValue, func(s sample) float64 { return number(s.Clock() != nil) }},
	{"decision_log_left_out_total", "Records that the decision log lacks.", prometheus.CounterValue, func(s sample) float64 { return float64(s.RecordsLeftOut()) }},

	{"bundle_active_timestamp_seconds", "When the bundle that decides became active.", prometheus.GaugeValue, func(s sample) float64 { return seconds(s.bundle.ActiveSince) }},
	{"bundle_reload_ok", "0 while the directory holds a bundle that was refused.", prometheus.GaugeValue, func(s sample) float64 { return number(!s.bundle.Stale()) }},
	{"bundle_activated_total", "Bundles that became active, with the first.", prometheus.CounterValue, func(s sample) float64 { return float64(s.bundle.Activated) }},
	{"bundle_refused_total", "Bundles that were refused.", prometheus.CounterValue, func(s sample) float64 { return float64(s.bundle.Refused) }},

	{"messages_delivered_total", "Webhooks that were taken.", prometheus.CounterValue, func(s sample) float64 { return float64(s.messages.Delivered) }},
	{"messages_failed_tries_total", "Webhooks that were not taken, try by try.", prometheus.CounterValue, func(s sample) float64 { return float64(s.messages.Failed) }},
	{"messages_dead_total", "Messages that were given up.", prometheus.CounterValue, func(s sample) float64 { return float64(s.messages.Dead) }},
	{"messages_waiting_terminals", "Terminals with something to be delivered by webhook.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.messages.Waiting) }},
	{"message_streams", "Streams of messages that are open.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.messages.Streams) }},
	{"messages_streamed_total", "Messages in streams.", prometheus.CounterValue, func(s sample) float64 { return float64(s.messages.Streamed) }},
	{"message_log_left_out_total", "Messages that the message log lacks.", prometheus.CounterValue, func(s sample) float64 { return float64(s.messages.LeftOut) }},

	{"store_failed", "1 when a commit failed: the process ends.", prometheus.GaugeValue, func(s sample) float64 { return number(s.store.Failed) }},
	{"store_last_seq", "Number of the last durable batch.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.store.LastSeq) }},
	{"store_applied_seq", "Number of the last batch that left the journal for the tables.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.store.AppliedSeq) }},
	{"store_batches_total", "Batches since the start.", prometheus.CounterValue, func(s sample) float64 { return float64(s.store.Batches) }},
	{"store_transactions_total", "Transactions that wrote, since the start.", prometheus.CounterValue, func(s sample) float64 { return float64(s.store.Transactions) }},
	{"store_journal_bytes", "Size of the journal.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.store.JournalBytes) }},
	{"store_undurable_bytes", "Bytes that wait for the journal.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.store.UndurableBytes) }},
	{"store_unapplied_bytes", "Bytes in memory that wait for the tables.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.store.UnappliedBytes) }},
	{"store_waiting_transactions", "Transactions that wait for a record.", prometheus.GaugeValue, func(s sample) float64 { return float64(s.store.WaitingForRecords) }},
	{"store_disk_paused", "1 while the tables are left alone for want of free disk.", prometheus.GaugeValue, func(s sample) float64 { return number(s.store.PausedForWantOfDisk) }},
}

var bundleInfo = prometheus.NewDesc(prefix+"bundle_info", "1 for the digest of the bundle that decides.", []string{"digest"}, nil)

// A sampler is a prometheus.Collector of a Source.
type sampler struct{ source *Source }

// Describe implements prometheus.Collector.
func (s sampler) Describe(to chan<- *prometheus.Desc) {
	to <- bundleInfo
	for _, one := range samples {
		to <- one.desc()
	}
}

// Collect implements prometheus.Collector.
func (s sampler) Collect(to chan<- prometheus.Metric) {
	now := sample{*s.source, s.source.Bundle(), s.source.Store(), s.source.Messages()}
	to <- prometheus.MustNewConstMetric(bundleInfo, prometheus.GaugeValue, 1, now.bundle.ActiveDigest)
	for _, one := range samples {
		to <- prometheus.MustNewConstMetric(one.desc(), one.kind, one.value(now))
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
