package upf

import (
	"fmt"
	"reflect"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// maxAppFlows is how many flow descriptions one application may have: each stands in
// the filters of every session that names it.
const maxAppFlows = 256

// maxApps is how many applications there can be.
const maxApps = 1 << 14

// pfdManagement takes packet flow descriptions (TS 29.244 §6.2.5). An application
// that the request names has the PFDs of the request from now on, none if it names
// none; a request without an application takes those of all away. Sessions whose
// PDRs name a changed application are compiled again.
//
// We tell applications by flow description alone: a request with a PFD that has a
// URL, a domain name or custom content is refused as a whole.
func (s *Server) pfdManagement(m *message.PFDManagementRequest) message.Message {
	apps, changed, err := s.changeApps(m)
	if err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	s.apps = apps
	s.log.Info("PFDs taken", "applications", len(s.apps), "changed", len(changed))
	s.recompileApps(changed)
	return message.NewPFDManagementResponse(0, ie.NewCause(ie.CauseRequestAccepted), nil)
}

// changeApps returns the applications after m, and the IDs of those that m changes.
func (s *Server) changeApps(m *message.PFDManagementRequest) (apps map[string][]pfcp.FlowDescription, changed map[string]bool, err *pfcp.Error) {
	apps, changed = map[string][]pfcp.FlowDescription{}, map[string]bool{}
	for id, flows := range s.apps {
		if len(m.ApplicationIDsPFDs) > 0 {
			apps[id] = flows
		} else {
			changed[id] = true
		}
	}
	for _, i := range m.ApplicationIDsPFDs {
		id, flows, err := appFlows(i)
		if err != nil {
			return nil, nil, err
		}
		if !reflect.DeepEqual(apps[id], flows) {
			changed[id] = true
		}
		if apps[id] = flows; flows == nil {
			delete(apps, id)
		}
	}
	if len(apps) > maxApps {
		return nil, nil, &pfcp.Error{
			Cause: ie.CauseNoResourcesAvailable, Offending: ie.ApplicationIDsPFDs,
			Text: fmt.Sprintf("%d applications, allowed are %d", len(apps), maxApps),
		}
	}
	return apps, changed, nil
}

// appFlows reads what an Application ID's PFDs IE says; no flows = delete.
func appFlows(i *ie.IE) (id string, flows []pfcp.FlowDescription, err *pfcp.Error) {
	a, err := pfcp.ParseApplicationPFDs(i)
	if err != nil {
		return "", nil, err
	}
	for _, p := range a.PFDs {
		if p.Other || len(p.Flows) == 0 {
			return "", nil, &pfcp.Error{
				Cause: ie.CauseServiceNotSupported, Offending: ie.PFDContents,
				Text: fmt.Sprintf("application %q: a PFD with more or less than flow descriptions", a.ID),
			}
		}
		flows = append(flows, p.Flows...)
	}
	if len(flows) > maxAppFlows {
		return "", nil, &pfcp.Error{
			Cause: ie.CauseNoResourcesAvailable, Offending: ie.PFDContents,
			Text: fmt.Sprintf("application %q: %d flow descriptions, allowed are %d", a.ID, len(flows), maxAppFlows),
		}
	}
	return a.ID, flows, nil
}

// recompileApps compiles the sessions again that name one of the applications.
func (s *Server) recompileApps(apps map[string]bool) {
	if len(apps) == 0 {
		return
	}
	for _, sess := range s.sessions {
		if !sess.rules.names(apps) {
			continue
		}
		if err := s.reinstall(sess, sess.rules); err != nil {
			s.log.Error("session keeps the PFDs of before", "seid", seidText(sess.seid), "err", err)
		}
	}
}
