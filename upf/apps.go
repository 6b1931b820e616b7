package upf

import "github.com/braid-upf/braid/pfcp"

// applications are the flows of the applications that an Application ID can name
// (TS 29.244 §5.11.4, PFD management).
type applications struct {
	apps map[string][]pfcp.FlowDescription // by Application ID
}
