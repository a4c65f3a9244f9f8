# Everything that a developer and CI run. All of it needs only Go, Python with
# pip (to fetch Envoy once), git, make and a C compiler (for the race detector).

.PHONY: demo test lint policy bench soak build clean

build:
	go build -o build/countersign ./cmd/countersign

# Payment calls over HTTP through a real Envoy. KEEP=1 leaves it all running.
demo: build
	go run ./examples/demo $(if $(KEEP),-keep)

# TestBuiltIn judges every rule of the built-in bundle: with the race detector it would
# take longer than all the others, and others run the same code with it. There are fewer
# guesses with it in TestManyGuessers. Those that run whole programs, Envoys and stores
# are watched for races by make soak alone: what they run, the others race.
WHOLE = ./bench ./cmd/countersign ./examples/envoy
test: lint policy
	go test -race -skip='^TestBuiltIn$$' $$(go list ./... | grep -vE '/(bench|cmd/countersign|examples/envoy)$$')
	go test $(WHOLE)
	go test -run='^Test(BuiltIn|ManyGuessers)$$' ./sidecar/bundle ./sidecar/evidence

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt these files:"; gofmt -l .; exit 1; }
	go vet ./...
	go vet -tags soak ./...
	go tool staticcheck ./...
	go mod tidy -diff

policy:
	@test -z "$$(go tool opa fmt -l policies)" || { echo "run go tool opa fmt -w on:"; go tool opa fmt -l policies; exit 1; }
	go tool opa check --bundle --strict --schema policies/schemas policies
	go tool opa test --bundle --timeout 30s policies

bench:
	go run ./bench
	go run ./bench fairness
	go run ./bench store
	go run ./bench mix
	go run ./bench entries

# Longer runs of what test does in short form, about half an hour. The faults of
# the store are multiplied by COUNTERSIGN_SOAK. Those that cut the power of a disk
# and fill it up need root and loop devices, and are left out elsewhere. Chromium must
# be installed: it carries out what people do in the pages of examples/terminal.
soak: export COUNTERSIGN_SOAK ?= 50
soak:
	COUNTERSIGN_SOAK=1 go test -race -count=5 -skip='^TestBuiltIn$$' ./...
	go test -v -timeout=2h -run='^Test(Ledgers|Guesses)AcrossKills' ./authzstore
	go test -v -timeout=2h -run='^TestDeliveryAcrossKills' ./sidecar/outbox
	go test -v -timeout=2h -run='^TestStrangersLockNobodyOut' ./sidecar/decide
	go test -v -timeout=2h -run='^Test(ManyAgents|ProgramAcrossKills)' ./examples/envoy
	go test -v -timeout=2h -run='^Test(Kill|Torn|Flip|Truncate|FailingWrite)' ./authzstore/kv/badgerkv
	@if [ "$$(id -u)" = 0 ] && [ -w /dev/loop-control ]; then set -x; \
		go test -v -timeout=2h -tags=soak -run='^Test(PowerLoss|RealFullDisk)' ./authzstore/kv/badgerkv; \
	else echo "LEFT OUT: power loss and a full disk (they need root and /dev/loop-control)"; fi
	go test -v -count=1 -timeout=1h -tags=soak -run='^TestByHand' ./examples/terminal
	go test -run='^$$' -fuzz=FuzzJournal -fuzztime=60s ./authzstore/kv/badgerkv
	go test -run='^$$' -fuzz=FuzzParseTerms -fuzztime=60s ./authzstore
	go test -run='^$$' -fuzz=FuzzDecodeUnits -fuzztime=60s ./authzstore/kv/chain
	go test -run='^$$' -fuzz=FuzzParse -fuzztime=60s ./sidecar/call/strictjson
	go test -run='^$$' -fuzz=FuzzLenientReader -fuzztime=60s ./sidecar/call/strictjson
	go test -run='^$$' -fuzz=FuzzDecode -fuzztime=60s ./sidecar/call
	go test -run='^$$' -fuzz=FuzzVerify -fuzztime=60s ./sidecar/upstream
	go test -run='^$$' -fuzz=FuzzClaims -fuzztime=60s ./sidecar/upstream
	go test -run='^$$' -fuzz=FuzzParams -fuzztime=60s ./sidecar/call

clean:
	rm -rf build
