package configs

import (
	"errors"
	"testing"

	"go.yaml.in/yaml/v3"
)

const linesFile = `listen: here
store:
  ttl: forever
common: &common
  grace: 1s
kicks:
  - name: one
    driver: udp
  - <<: *common
    name: two
    networks:
      - name: lab
        cidrs:
          - 10.0.0.0/8
          - 214/07
  - <<: [*common]
    name: three
log: {level: loud, format: text}
`

func TestLines(t *testing.T) {
	root := new(yaml.Node)
	if err := yaml.Unmarshal([]byte(linesFile), root); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDITION_LOG_FORMAT", "xml")
	where := lines{root: root, set: map[string]any{"listen": "elsewhere"}}
	for fault, want := range map[string]int{
		`store.ttl: "forever" is not a duration`:                        3,
		`store.sync: a key that is missing is looked for in its group`:  2,
		`kicks[0] (one): driver: "udp" is not one of these`:             8,
		`kicks[0] (one): networks: not there, so the entry's line`:      7,
		`kicks[1] (two): networks[0].cidrs[1]: "214/07" is not a CIDR`:  15,
		`kicks[1] (two): networks[0] (lab).cidrs[0]: too wide`:          14,
		`kicks[1] (two): networks[0].mnc: missing`:                      12,
		`kicks[1] (two): grace: comes from another place`:               5,
		`kicks[2] (three): grace: from a list of others`:                5,
		`kicks[9] (nine): there is no such entry`:                       6,
		`kicks[0]: no target: words that are no path`:                   7,
		`log.level: "loud" is not one of debug, info, warn, error`:      18,
		`log.format: "xml" comes from the environment`:                  0,
		`listen: "elsewhere" comes from a flag`:                         0,
		`upstreams: empty: a relay needs one`:                           0,
		`EDITION_LISTN: no such variable; did you mean EDITION_LISTEN?`: 0,
		``: 0,
		`kicks[99999999999999999999]: a number that is none`:                     6,
		`kicks.name: a list has no names`:                                        6,
		`listen[0]: text has no entries, but this is what the flag said instead`: 0,
	} {
		if got := where.of(fault); got != want {
			t.Errorf("%s\nis at line %d, want %d", fault, got, want)
		}
	}
	if got := (lines{}).of("listen: x"); got != 0 {
		t.Errorf("without a file: line %d", got)
	}
}

// TestFaultsHaveLines loads a file with faults of every origin.
func TestFaultsHaveLines(t *testing.T) {
	file := write(t, "f.yaml", `listen: 127.0.0.1:0
lisen: x
relays: [{name: north}]
kicks:
  - name: lab
    driver: udp
    networks:
      - cidrs: [214/07]
    grace: never
  - {name: lab, driver: udp, networks: [{cidrs: [127.0.0.0/8]}]}
drain: 5h
`)
	_, err := LoadServer(Source{File: file, Set: map[string]any{"admin": "nowhere"}})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var got []int
	for _, f := range e.Faults {
		got = append(got, f.Line)
	}
	want := []int{2, 3, 8, 9, 10, 11, 0}
	if len(got) != len(want) {
		t.Fatalf("lines %v, want %v\n%v", got, want, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("lines %v, want %v\n%v", got, want, err)
		}
	}
}
