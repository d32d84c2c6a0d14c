package publish

import (
	"net/http"
	"strconv"
	"time"

	"github.com/edition-push/edition"
)

// sinceLayout is RFC 3339 in UTC with milliseconds.
const sinceLayout = "2006-01-02T15:04:05.000Z07:00"

// pushes is how apps of UnifiedPush know a push server.
const pushes = `"unifiedpush":{"version":1}}` + "\n"

// show answers GET and HEAD: with the state of delivery for those who may send,
// and that this is a push server for everybody.
func (p *Publisher) show(w http.ResponseWriter, r *http.Request, ep Endpoint) {
	s, err := p.store.State(ep.Key)
	if err != nil {
		p.refuse(w, doorGet, ep.UAID, err)
		return
	}
	p.count(doorGet, reasonShown, ep.UAID)
	b := append(make([]byte, 0, 192), '{')
	if p.mayPut(r, &ep) == nil {
		b = appendState(b, s)
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	w.Write(append(b, pushes...)) //nolint:errcheck // the client may have left; net/http drops it for HEAD
}

func appendState(b []byte, s edition.EndpointState) []byte {
	b = append(b, `"version":`...)
	b = strconv.AppendUint(b, uint64(s.Version), 10)
	b = append(b, `,"state":"`...)
	b = append(b, s.State...)
	if !s.Since.IsZero() {
		b = append(b, `","since":"`...)
		b = s.Since.In(time.UTC).AppendFormat(b, sinceLayout)
	}
	if s.Relayed {
		b = append(b, `","custody":"relay`...)
	}
	return append(b, `",`...)
}
