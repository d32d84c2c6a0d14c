package smpp

import "fmt"

// Status is how a command ended (section 5.1.3).
type Status uint32

// The statuses that this package, the driver and the simulator tell apart.
const (
	OK             Status = 0x00
	InvMsgLen      Status = 0x01
	InvCmdLen      Status = 0x02
	InvCmdID       Status = 0x03
	InvBindStatus  Status = 0x04
	AlreadyBound   Status = 0x05
	SysErr         Status = 0x08
	InvSource      Status = 0x0a
	InvDest        Status = 0x0b
	BindFail       Status = 0x0d
	InvPassword    Status = 0x0e
	InvSystemID    Status = 0x0f
	MsgQueueFull   Status = 0x14
	InvServiceType Status = 0x15
	InvESMClass    Status = 0x43
	SubmitFail     Status = 0x45
	InvSourceTON   Status = 0x48
	InvSourceNPI   Status = 0x49
	InvDestTON     Status = 0x50
	InvDestNPI     Status = 0x51
	InvSystemType  Status = 0x53
	Throttled      Status = 0x58
	InvSchedule    Status = 0x61
	InvExpiry      Status = 0x62
	TempAppError   Status = 0x64
	PermAppError   Status = 0x65
	RejectAppError Status = 0x66
	DeliveryFail   Status = 0xfe
	UnknownError   Status = 0xff
)

var statusNames = map[Status]string{
	OK: "ESME_ROK", InvMsgLen: "ESME_RINVMSGLEN", InvCmdLen: "ESME_RINVCMDLEN", InvCmdID: "ESME_RINVCMDID",
	InvBindStatus: "ESME_RINVBNDSTS", AlreadyBound: "ESME_RALYBND", SysErr: "ESME_RSYSERR",
	InvSource: "ESME_RINVSRCADR", InvDest: "ESME_RINVDSTADR", BindFail: "ESME_RBINDFAIL",
	InvPassword: "ESME_RINVPASWD", InvSystemID: "ESME_RINVSYSID", MsgQueueFull: "ESME_RMSGQFUL",
	InvServiceType: "ESME_RINVSERTYP", InvESMClass: "ESME_RINVESMCLASS", SubmitFail: "ESME_RSUBMITFAIL",
	InvSourceTON: "ESME_RINVSRCTON", InvSourceNPI: "ESME_RINVSRCNPI", InvDestTON: "ESME_RINVDSTTON",
	InvDestNPI: "ESME_RINVDSTNPI", InvSystemType: "ESME_RINVSYSTYP", Throttled: "ESME_RTHROTTLED",
	InvSchedule: "ESME_RINVSCHED", InvExpiry: "ESME_RINVEXPIRY", TempAppError: "ESME_RX_T_APPN",
	PermAppError: "ESME_RX_P_APPN", RejectAppError: "ESME_RX_R_APPN", DeliveryFail: "ESME_RDELIVERYFAILURE",
	UnknownError: "ESME_RUNKNOWNERR",
}

func (s Status) String() string {
	if name, ok := statusNames[s]; ok {
		return name
	}
	return fmt.Sprintf("status 0x%08x", uint32(s))
}

// StatusError is an answer that says no.
type StatusError struct {
	Command Command // that was answered
	Status  Status
}

func (e *StatusError) Error() string { return fmt.Sprintf("%v: %v", e.Command, e.Status) }
