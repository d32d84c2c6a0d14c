package publish

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

// TestPutForms: the query and the body of a PUT are one form (SimplePush).
func TestPutForms(t *testing.T) {
	long := strings.Repeat("ü", edition.MaxBody/2)
	for _, c := range []struct {
		query, contentType, body string
		version                  edition.Version // 0: the server makes it
		data                     string
	}{
		{"version=5", "", "", 5, ""},
		{"version=5", typeForm, "", 5, ""},
		{"version=5", typeObj, "", 5, ""},
		{"version=5&data=x", "", "", 5, "x"},
		{"version=5", typeForm, "data=hello+w%C3%B6rld", 5, "hello wörld"},
		{"data=x", typeForm, "version=5", 5, "x"},
		{"data=x", typeText, "5", 5, "x"},
		{"data=x", typeObj, `{"version":5}`, 5, "x"},
		{"", typeForm, "version=5&data=a%26b", 5, "a&b"},
		{"", typeForm, "data=x", 0, "x"},
		{"data=x", "", "", 0, "x"},
		{"", typeForm, "version=5&data=", 5, ""},
		{"utm=1&v=2", "", "", 0, ""},
		{"", typeForm, "version=5&data=" + url.QueryEscape(long), 5, long},
		{"", typeForm, "data=" + url.QueryEscape(long) + "&version=5", 5, long},
		{"", typeForm, "version=5&data=" + strings.Repeat("x", edition.MaxBody), 5, strings.Repeat("x", edition.MaxBody)},
	} {
		w := newWorld(t, Limits{})
		target := w.endpoint
		if c.query != "" {
			target += "?" + c.query
		}
		w.want(w.do(http.MethodPut, target, c.body, "Content-Type", c.contentType), 202)
		u, bodies := w.waiting()
		if len(u) != 1 || u[0].Key != w.app || c.version != 0 && u[0].Version != c.version || c.version == 0 && u[0].Version < 1e12 {
			t.Errorf("%+.60v: %v waits", c, u)
		}
		data := ""
		if bodies != nil && bodies[0] != nil {
			b := bodies[0]
			if data = string(b.Data); b.AppID != w.app.AppID || b.Encoding != "" || b.Urgency != edition.UrgencyNormal || b.Receipt || data == "" {
				t.Errorf("%+.60v: carries %+v", c, b)
			}
		}
		if data != c.data {
			t.Errorf("%+.60v: data %.60q", c, data)
		}
	}
}

func TestPutRefusesForms(t *testing.T) {
	for _, c := range []struct {
		status                   int
		query, contentType, body string
	}{
		{400, "version=x", "", ""},
		{400, "version=-1", "", ""},
		{400, "version=9223372036854775808", "", ""},
		{400, "version=", "", ""},
		{400, "version=5&version=5", "", ""},
		{400, "version=5", typeForm, "version=5"},
		{400, "version=5", typeText, "5"},
		{400, "version=5", typeObj, `{"version":5}`},
		{400, "version=%zz", "", ""},
		{400, "data=x", typeForm, "data=y"},
		{400, "data=%ff", "", ""},
		{400, "", typeForm, "version=5&data=%ff"},
		{400, "data=x", typeForm, "version=x"},
		{413, "", typeForm, "version=5&data=" + strings.Repeat("x", edition.MaxBody+1)},
		{413, "", typeForm, "version=5&data=" + strings.Repeat("%41", edition.MaxBody+1)},
		{413, "", typeForm, "version=5&data=" + strings.Repeat("x", 20_000)},
		{413, "data=x", typeText, strings.Repeat("5", maxBody+1)},
		{415, "version=5", "application/octet-stream", ""},
	} {
		w := newWorld(t, Limits{})
		target := w.endpoint
		if c.query != "" {
			target += "?" + c.query
		}
		resp := w.do(http.MethodPut, target, c.body, "Content-Type", c.contentType)
		if status, body := statusAndBody(resp); status != c.status {
			t.Errorf("%.80v: %d %s", c, status, body)
		}
		if u, _ := w.waiting(); len(u) > 0 {
			t.Errorf("%.80v: had an effect", c)
		}
	}
}
