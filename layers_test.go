package edition_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/edition-push/edition"

// layers is the import diagram: one row a folder, from the ground up. A row
// says which folders of this module its code imports besides the root package,
// and which modules of others. Tests are free: they may wire anything together,
// as long as Go itself allows it.
//
// "…/*" speaks of every folder below; "*" of everything.
var layers = []struct {
	folder string
	ours   string
	others string
}{
	// The words and the contracts: the standard library only.
	{".", "", ""},

	// What the two doors and the core are made of.
	{"wire", "", ""},
	{"hub", "", prom},
	{"store/mem", "", ""},
	{"store/bolt", "", prom + " go.etcd.io/bbolt golang.org/x/sys"},
	{"store/storetest", "store/mem", "pgregory.net/rapid"},

	// The doors. publish does not know the hub: it takes a deliver function.
	{"internal/httpconn", "", ""},
	{"internal/leak", "", "go.uber.org/goleak"},
	{"internal/patience", "", ""},
	{"publish", "internal/httpconn internal/patience wire", prom + " github.com/golang-jwt/jwt/v5 go.yaml.in/yaml/v3 golang.org/x/crypto"},
	{"session", "hub internal/patience wire", prom + " github.com/gorilla/websocket golang.org/x/sync"},

	// Other protocols at the device door: translators for a session.
	{"dialect/peer", "session", ""},
	{"dialect/simplepush", "dialect/peer", "github.com/gorilla/websocket"},
	{"dialect/mozpush", "dialect/peer wire", "github.com/gorilla/websocket"},
	{"dialect", "dialect/mozpush dialect/peer dialect/simplepush session", ""},

	// The other end of the wire. relay does not know the hub either.
	{"client", "wire", prom + " github.com/cenkalti/backoff/v5 github.com/gorilla/websocket golang.org/x/net golang.org/x/sync"},
	{"relay", "client wire", prom + " golang.org/x/sync"},

	// Waking. A driver knows nobody; the dispatcher knows its drivers.
	{"internal/nearest", "", ""},
	{"internal/firefox", "", "github.com/gorilla/websocket"},
	{"kickdrivers/driver", "", ""},
	{"kickdrivers/udp", "kickdrivers/driver", "golang.org/x/net golang.org/x/sys"},
	{"kickdrivers/udp/udpsim", "", ""},
	{"kickdrivers/log", "kickdrivers/driver", ""},
	{"kickdrivers/outbound", "", ""},
	{"kickdrivers/apns", "kickdrivers/driver kickdrivers/outbound", "github.com/sideshow/apns2"},
	{"kickdrivers/apns/apnssim", "kickdrivers/simtls", "github.com/golang-jwt/jwt/v5"},
	{"kickdrivers/fcm", "kickdrivers/driver kickdrivers/outbound", "golang.org/x/oauth2"},
	{"kickdrivers/fcm/fcmsim", "kickdrivers/simtls", "github.com/golang-jwt/jwt/v5"},
	{"kickdrivers/webpush", "kickdrivers/driver kickdrivers/outbound", "github.com/golang-jwt/jwt/v5"},
	{"kickdrivers/webpush/webpushsim", "kickdrivers/simtls", "github.com/golang-jwt/jwt/v5"},
	{"kickdrivers/webhook", "kickdrivers/driver kickdrivers/outbound", ""},
	{"kickdrivers/webhook/webhooksim", "", "github.com/standard-webhooks/standard-webhooks"},
	{"kickdrivers/exec", "kickdrivers/driver", ""},
	{"kickdrivers/gateway", "kickdrivers/driver kickdrivers/outbound wire", ""},
	{"kickdrivers/simtls", "", ""},
	{"kickdrivers/mqtt", "kickdrivers/driver kickdrivers/outbound", "github.com/eclipse/paho.golang"},
	{"kickdrivers/mqtt/mqttsim", "kickdrivers/simtls", "github.com/mochi-mqtt/server/v2"},
	{"kickdrivers/sms", "kickdrivers/driver kickdrivers/outbound kickdrivers/sms/gsm kickdrivers/sms/smpp", ""},
	{"kickdrivers/sms/gsm", "", ""},
	{"kickdrivers/sms/smpp", "", ""},
	{"kickdrivers/sms/smppsim", "kickdrivers/simtls kickdrivers/sms/gsm kickdrivers/sms/smpp", ""},
	{"kickdrivers/wakeup", "kickdrivers/driver kickdrivers/outbound", ""},
	{"kickdrivers/wakeup/wakeupsim", "kickdrivers/simtls", ""},
	{"kickdrivers/kicktest", "kickdrivers/driver", ""},
	{"kickdrivers", "internal/nearest kickdrivers/apns kickdrivers/driver kickdrivers/exec kickdrivers/fcm kickdrivers/gateway kickdrivers/log kickdrivers/mqtt kickdrivers/sms kickdrivers/udp kickdrivers/wakeup kickdrivers/webhook kickdrivers/webpush", prom + " github.com/go-viper/mapstructure/v2"},

	// Kicks on demand: doors that ask the dispatcher.
	{"gateway", "kickdrivers wire", prom},
	{"gateway/wakeup", "kickdrivers kickdrivers/outbound", prom + " golang.org/x/sync"},

	// The outside: typed configuration, the one binary, and tests of the whole.
	{"configs", "internal/nearest kickdrivers wire", "github.com/go-viper/mapstructure/v2 github.com/spf13/viper go.yaml.in/yaml/v3"},
	{"cmd/*", "*", "*"},
	{"e2e", "", ""},
}

const prom = "github.com/prometheus/client_golang"

// TestLayers fails when an arrow of the diagram points up, when a dependency
// is used where it does not belong, and when a folder has no row.
func TestLayers(t *testing.T) {
	for folder, imports := range importsByFolder(t) {
		row := rowOf(folder)
		if row < 0 {
			t.Errorf("%s has no row in the table: say what it may import", folder)
			continue
		}
		for imp, file := range imports {
			if !allowed(layers[row].ours, layers[row].others, imp) {
				t.Errorf("%s imports %s, which its layer does not allow", file, imp)
			}
		}
	}
}

// TestLayersRows fails when a row says more than its folders do: no code is
// there, or nothing imports what the row allows.
func TestLayersRows(t *testing.T) {
	folders := importsByFolder(t)
	for _, l := range layers {
		var used []string
		found := false
		for folder, imports := range folders {
			if covers(l.folder, folder) {
				found = true
				used = slices.AppendSeq(used, maps.Keys(imports))
			}
		}
		if !found {
			t.Errorf("the table has a row for %s, where no code is", l.folder)
		}
		for may := range strings.FieldsSeq(l.ours + " " + l.others) {
			if may == "*" {
				continue
			}
			if !slices.ContainsFunc(used, func(imp string) bool { return allowed(may, may, imp) && imp != module && strings.Contains(imp, ".") }) {
				t.Errorf("the row for %s allows %s, which nothing there imports", l.folder, may)
			}
		}
	}
}

// TestLayersNotice shows that the table says no where it should.
func TestLayersNotice(t *testing.T) {
	for _, c := range []struct {
		folder, imp string
		want        bool
	}{
		{".", "net/http", true},
		{".", prom + "/prometheus", false},
		{"hub", module, true},
		{"hub", module + "/wire", false},
		{"hub", module + "/session", false},
		{"publish", module + "/hub", false},
		{"relay", module + "/client", true},
		{"relay", module + "/hub", false},
		{"kickdrivers", module + "/kickdrivers/udp", true},
		{"kickdrivers/udp", module + "/kickdrivers", false},
		{"session", "go.etcd.io/bbolt", false},
		{"store/bolt", "go.etcd.io/bbolt", true},
		{"store/bolt", "go.etcd.io/bbolt/errors", true},
		{"store/bolt", "go.etcd.io/bboltfork", false},
		{"cmd/edition", module + "/session", true},
		{"cmd/edition", "github.com/spf13/cobra", true},
	} {
		row := rowOf(c.folder)
		if row < 0 {
			t.Errorf("%s has no row", c.folder)
		} else if got := allowed(layers[row].ours, layers[row].others, c.imp); got != c.want {
			t.Errorf("may %s import %s? got %v, want %v", c.folder, c.imp, got, c.want)
		}
	}
	if row := rowOf("helpers"); row >= 0 {
		t.Errorf("a folder that is not in the table has row %d", row)
	}
}

func rowOf(folder string) int {
	return slices.IndexFunc(layers, func(l struct{ folder, ours, others string }) bool { return covers(l.folder, folder) })
}

// allowed reports whether a row lets its folders import a package.
func allowed(ours, others, imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	switch within, mine := strings.CutPrefix(imp, module); {
	case imp == module:
		return true
	case mine && strings.HasPrefix(within, "/"):
		return slices.ContainsFunc(strings.Fields(ours), func(p string) bool { return covers(p, within[1:]) })
	case !strings.Contains(first, "."):
		return true // the standard library
	}
	return slices.ContainsFunc(strings.Fields(others), func(p string) bool {
		return p == "*" || imp == p || strings.HasPrefix(imp, p+"/")
	})
}

func covers(pattern, folder string) bool {
	if below, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(folder, below)
	}
	return pattern == folder
}

// importsByFolder maps each folder with Go code to what its files import, and
// each import to one file that has it. Tests do not count, every platform's
// files do.
func importsByFolder(t *testing.T) map[string]map[string]string {
	t.Helper()
	found := make(map[string]map[string]string)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, noModule := os.Stat(filepath.Join(name, "go.mod"))
			foreign := name != "." && noModule == nil
			if foreign || d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		folder := path.Dir(filepath.ToSlash(name))
		if found[folder] == nil {
			found[folder] = make(map[string]string)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[folder][imp] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
