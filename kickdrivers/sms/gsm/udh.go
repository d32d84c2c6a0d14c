package gsm

import "errors"

// Ports are application ports, 16 bits each: which program of the device a
// message is for (3GPP TS 23.040, section 9.2.3.24.4).
type Ports struct{ To, From uint16 }

const (
	elementPorts = 0x05 // information element identifier of 16-bit ports
	portsLength  = 4
)

// errHeader is a user data header that makes no sense.
var errHeader = errors.New("malformed user data header")

// Header returns the user data header that goes before the data.
func (p Ports) Header() []byte {
	return []byte{
		2 + portsLength, elementPorts, portsLength,
		byte(p.To >> 8), byte(p.To), byte(p.From >> 8), byte(p.From),
	}
}

// SplitPorts takes the user data header off. The ports are zero when it names
// none; other elements are passed over.
func SplitPorts(userData []byte) (p Ports, data []byte, err error) {
	if len(userData) == 0 || len(userData) <= int(userData[0]) {
		return p, nil, errHeader
	}
	header, data := userData[1:1+int(userData[0])], userData[1+int(userData[0]):]
	for len(header) > 0 {
		if len(header) < 2 || len(header)-2 < int(header[1]) {
			return Ports{}, nil, errHeader
		}
		element := header[2 : 2+int(header[1])]
		if header[0] == elementPorts {
			if len(element) != portsLength {
				return Ports{}, nil, errHeader
			}
			p.To = uint16(element[0])<<8 | uint16(element[1])
			p.From = uint16(element[2])<<8 | uint16(element[3])
		}
		header = header[2+int(header[1]):]
	}
	return p, data, nil
}
