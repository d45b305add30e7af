// An official SDK as a client: Go. The same command line and output as the other clients; see
// ../python/client.py.
//
// Every step goes through the SDK: its card resolver, its transports, its types and errors. What
// a version, the SDK or the agent does not have is left out, with the reason.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	a2agrpcv0 "github.com/a2aproject/a2a-go/v2/a2agrpc/v0"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const deadline = 60 * time.Second

var bindings = map[string]a2a.TransportProtocol{
	"jsonrpc": a2a.TransportProtocolJSONRPC,
	"rest":    a2a.TransportProtocolHTTPJSON,
	"grpc":    a2a.TransportProtocolGRPC,
}

var (
	question = flag.String("question", "what is 17*23+4", "what the answer must hold --expect to")
	expect   = flag.String("expect", "395", "part of the answer to --question")
	brief    = flag.String("brief", "wait 2 seconds", "a task that runs a moment and completes")
	slow     = flag.String("slow", "wait 60 seconds", "a task to cancel")
	ask      = flag.String("ask", "book a table", "a request that lacks something")
	answer   = flag.String("answer", "4 people", "what it lacks")
	answered = flag.String("answered", "4", "part of the answer to both")
	parts    = flag.String("parts", "return these", "asks for the other parts back")
	fail     = flag.String("fail", "fail now", "a task that fails")
)

// cell is one client of the matrix: which agent, and how it is spoken to.
type cell struct {
	URL      string            `json:"url"`
	BriefURL string            `json:"brief_url"`
	SlowURL  string            `json:"slow_url"`
	FailURL  string            `json:"fail_url"`
	Binding  string            `json:"binding"`
	Version  string            `json:"version"`
	Snapshot *bool             `json:"snapshot"`
	Without  map[string]string `json:"without"`
}

// leftOut is a step that this version, this SDK or this agent does not have.
type leftOut string

func (reason leftOut) Error() string { return "left out: " + string(reason) }

func state(value a2a.TaskState) string {
	return strings.TrimPrefix(string(value), "TASK_STATE_")
}

func text(artifact *a2a.Artifact) string {
	var words strings.Builder
	for _, part := range artifact.Parts {
		words.WriteString(part.Text())
	}
	return words.String()
}

func said(task *a2a.Task) string {
	var all []string
	for _, artifact := range task.Artifacts {
		all = append(all, text(artifact))
	}
	return strings.Join(all, " ")
}

func request(words string) *a2a.SendMessageRequest {
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(words))
	return &a2a.SendMessageRequest{Message: message}
}

func atOnce(words string) *a2a.SendMessageRequest {
	asked := request(words)
	asked.Config = &a2a.SendMessageConfig{ReturnImmediately: true}
	return asked
}

// scenario holds the steps; task is the one that the question made.
type scenario struct {
	cell   cell
	client *a2aclient.Client
	task   *a2a.Task
}

func (s *scenario) card(ctx context.Context) (string, error) {
	card, client, err := s.connect(ctx, s.cell.URL)
	if err != nil {
		return "", err
	}
	s.client = client
	return fmt.Sprintf("%s: %v", card.Name, offered(card)), nil
}

func offered(card *a2a.AgentCard) []string {
	var names []string
	for _, iface := range card.SupportedInterfaces {
		names = append(names, fmt.Sprintf("%s/%s", iface.ProtocolBinding, iface.ProtocolVersion))
	}
	return names
}

// connect reads the card of an agent and makes a client of it in the binding and version wanted.
func (s *scenario) connect(ctx context.Context, base string) (*a2a.AgentCard, *a2aclient.Client, error) {
	http := &http.Client{Timeout: deadline}
	resolver := agentcard.NewResolver(http)
	resolver.CardParser = a2av0.NewAgentCardParser()
	card, err := resolver.Resolve(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	wanted := bindings[s.cell.Binding]
	chosen := *card
	chosen.SupportedInterfaces = nil
	for _, iface := range card.SupportedInterfaces {
		version := string(iface.ProtocolVersion)
		if iface.ProtocolBinding == wanted && strings.HasPrefix(version, s.cell.Version) {
			one := *iface
			one.ProtocolVersion = a2a.ProtocolVersion(s.cell.Version)
			chosen.SupportedInterfaces = append(chosen.SupportedInterfaces, &one)
		}
	}
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	client, err := a2aclient.NewFromCard(ctx, &chosen,
		a2aclient.WithJSONRPCTransport(http),
		a2aclient.WithRESTTransport(http),
		a2agrpc.WithGRPCTransport(plain),
		a2av0.WithJSONRPCTransport(a2av0.JSONRPCTransportConfig{Client: http}),
		a2av0.WithRESTTransport(a2av0.RESTTransportConfig{Client: http}),
		a2agrpcv0.WithGRPCTransport(plain),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("%s/%s among %v: %w", wanted, s.cell.Version, offered(card), err)
	}
	return card, client, nil
}

// one sends without a stream and takes the one answer, which must be a task.
func one(ctx context.Context, client *a2aclient.Client, asked *a2a.SendMessageRequest) (*a2a.Task, error) {
	result, err := client.SendMessage(ctx, asked)
	if err != nil {
		return nil, err
	}
	task, ok := result.(*a2a.Task)
	if !ok {
		return nil, fmt.Errorf("no task but %T", result)
	}
	return task, nil
}

func (s *scenario) send(ctx context.Context) (string, error) {
	task, err := one(ctx, s.client, request(*question))
	if err != nil {
		return "", err
	}
	s.task = task
	if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(said(task), *expect) {
		return "", fmt.Errorf("%s %q", state(task.Status.State), said(task))
	}
	return said(task), nil
}

func (s *scenario) stream(ctx context.Context) (string, error) {
	var seen []string
	var words strings.Builder
	for event, err := range s.client.SendStreamingMessage(ctx, request(*question)) {
		if err != nil {
			return "", fmt.Errorf("after %v: %w", seen, err)
		}
		switch event := event.(type) {
		case *a2a.Task:
			seen = append(seen, state(event.Status.State))
		case *a2a.TaskStatusUpdateEvent:
			seen = append(seen, state(event.Status.State))
		case *a2a.TaskArtifactUpdateEvent:
			seen = append(seen, "artifact")
			words.WriteString(text(event.Artifact))
		}
	}
	working := slices.Index(seen, "WORKING")
	artifact := slices.Index(seen, "artifact")
	completed := slices.Index(seen, "COMPLETED")
	if working < 0 || artifact < working || completed < artifact || completed != len(seen)-1 {
		return "", fmt.Errorf("wrong order: %v", seen)
	}
	if !strings.Contains(words.String(), *expect) {
		return "", fmt.Errorf("%q lacks %q", words.String(), *expect)
	}
	return strings.Join(seen, " "), nil
}

func (s *scenario) get(ctx context.Context) (string, error) {
	task, err := s.client.GetTask(ctx, &a2a.GetTaskRequest{ID: s.task.ID})
	if err != nil {
		return "", err
	}
	if task.ID != s.task.ID || task.ContextID != s.task.ContextID {
		return "", fmt.Errorf("%s in %s", task.ID, task.ContextID)
	}
	if !strings.Contains(said(task), *expect) {
		return "", fmt.Errorf("%q lacks %q", said(task), *expect)
	}
	return string(task.ID), nil
}

func (s *scenario) list(ctx context.Context) (string, error) {
	if s.cell.Version == "0.3" {
		return "", leftOut("0.3 has no ListTasks")
	}
	// The page size is given because over gRPC the SDK sends an unset one as 0, which the
	// specification (1 to 100) lets an agent refuse, and the Python SDK's agents do.
	asked := &a2a.ListTasksRequest{ContextID: s.task.ContextID, PageSize: 50}
	page, err := s.client.ListTasks(ctx, asked)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(page.Tasks, func(task *a2a.Task) bool { return task.ID == s.task.ID }) {
		return "", fmt.Errorf("%d tasks, not among them %s", len(page.Tasks), s.task.ID)
	}
	return fmt.Sprintf("%d in the context", len(page.Tasks)), nil
}

// running starts a task of the agent at base, or else of the main one, and comes back while it is
// not at its end.
func (s *scenario) running(ctx context.Context, base, words string) (*a2aclient.Client, *a2a.Task, error) {
	if base == "" {
		base = s.cell.URL
	}
	_, client, err := s.connect(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	task, err := one(ctx, client, atOnce(words))
	if err != nil {
		return nil, nil, err
	}
	if task.Status.State.Terminal() {
		return nil, nil, fmt.Errorf("already %s", state(task.Status.State))
	}
	return client, task, nil
}

func (s *scenario) cancel(ctx context.Context) (string, error) {
	client, task, err := s.running(ctx, s.cell.SlowURL, *slow)
	if err != nil {
		return "", err
	}
	canceled, err := client.CancelTask(ctx, &a2a.CancelTaskRequest{ID: task.ID})
	if err != nil {
		return "", err
	}
	if canceled.Status.State != a2a.TaskStateCanceled {
		return "", errors.New(state(canceled.Status.State))
	}
	return state(task.Status.State) + " -> CANCELED", nil
}

func (s *scenario) subscribe(ctx context.Context) (string, error) {
	client, task, err := s.running(ctx, s.cell.BriefURL, *brief)
	if err != nil {
		return "", err
	}
	var seen []string
	for event, err := range client.SubscribeToTask(ctx, &a2a.SubscribeToTaskRequest{ID: task.ID}) {
		if err != nil {
			return "", fmt.Errorf("after %v: %w", seen, err)
		}
		switch event := event.(type) {
		case *a2a.Task:
			seen = append(seen, "task")
		case *a2a.TaskArtifactUpdateEvent:
			seen = append(seen, "artifact_update")
		case *a2a.TaskStatusUpdateEvent:
			seen = append(seen, "status_update")
			if event.Status.State.Terminal() {
				seen = append(seen, state(event.Status.State))
			}
		}
		// 0.3 does not promise the task as the first event.
		promised := s.cell.Version != "0.3" && (s.cell.Snapshot == nil || *s.cell.Snapshot)
		if promised && seen[0] != "task" {
			return "", fmt.Errorf("first came %v", seen)
		}
	}
	if len(seen) == 0 || seen[len(seen)-1] != "COMPLETED" {
		return "", fmt.Errorf("ended with %v", seen)
	}
	return strings.Join(seen, " "), nil
}

func (s *scenario) multiTurn(ctx context.Context) (string, error) {
	asked, err := one(ctx, s.client, request(*ask))
	if err != nil {
		return "", err
	}
	if asked.Status.State != a2a.TaskStateInputRequired {
		return "", errors.New(state(asked.Status.State))
	}
	message := a2a.NewMessageForTask(a2a.MessageRoleUser, asked, a2a.NewTextPart(*answer))
	done, err := one(ctx, s.client, &a2a.SendMessageRequest{Message: message})
	if err != nil {
		return "", err
	}
	if done.ID != asked.ID {
		return "", fmt.Errorf("%s is another task than %s", done.ID, asked.ID)
	}
	if done.Status.State != a2a.TaskStateCompleted || !strings.Contains(said(done), *answered) {
		return "", fmt.Errorf("%s %q", state(done.Status.State), said(done))
	}
	return said(done), nil
}

// returned asks for every kind of part and gets it back, through whatever translates between.
func (s *scenario) returned(ctx context.Context) (string, error) {
	if *parts == "" {
		return "", leftOut("this agent does not return parts")
	}
	all := make([]byte, 256)
	for at := range all {
		all[at] = byte(at)
	}
	file := a2a.NewRawPart(all)
	file.Filename, file.MediaType = "all bytes.bin", "application/octet-stream"
	link := a2a.NewFileURLPart("https://files.example/a%20b?c=d", "image/png")
	data := map[string]any{
		"n": 17.0, "half": 0.5, "empty": map[string]any{},
		"deep": []any{true, nil, map[string]any{"k": "é"}},
	}
	sent := []*a2a.Part{a2a.NewTextPart("déjà vu 🗿 \"quoted\"\n"), a2a.NewDataPart(data), file, link}
	asked := request(*parts)
	asked.Message.Parts = append(asked.Message.Parts, sent...)
	task, err := one(ctx, s.client, asked)
	if err != nil {
		return "", err
	}
	var back []*a2a.Part
	for _, artifact := range task.Artifacts {
		back = append(back, artifact.Parts...)
	}
	if len(back) != len(sent) {
		return "", fmt.Errorf("%d parts came back", len(back))
	}
	for at, before := range sent {
		after := back[at]
		if !reflect.DeepEqual(before.Content, after.Content) {
			return "", fmt.Errorf("%#v is now %#v", before.Content, after.Content)
		}
		if at >= 2 && (before.Filename != after.Filename || before.MediaType != after.MediaType) {
			return "", fmt.Errorf("the file is now %q of %q", after.Filename, after.MediaType)
		}
	}
	return "text data raw url", nil
}

func (s *scenario) failing(ctx context.Context) (string, error) {
	if *fail == "" {
		return "", leftOut("this agent does not fail")
	}
	base := s.cell.FailURL
	if base == "" {
		base = s.cell.URL
	}
	_, client, err := s.connect(ctx, base)
	if err != nil {
		return "", err
	}
	task, err := one(ctx, client, request(*fail))
	if err != nil {
		return "", err
	}
	if task.Status.State != a2a.TaskStateFailed {
		return "", errors.New(state(task.Status.State))
	}
	return state(task.Status.State), nil
}

func (s *scenario) unknownTask(ctx context.Context) (string, error) {
	_, err := s.client.GetTask(ctx, &a2a.GetTaskRequest{ID: a2a.NewTaskID()})
	if !errors.Is(err, a2a.ErrTaskNotFound) {
		return "", fmt.Errorf("not ErrTaskNotFound but %w", err)
	}
	return "ErrTaskNotFound: " + err.Error(), nil
}

type step struct {
	name string
	run  func(context.Context) (string, error)
}

// attempt turns every failure, a panic from a step that lacks what an earlier one failed to make
// included, into an error.
func attempt(run func(context.Context) (string, error)) (detail string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return run(ctx)
}

// line is what is printed of a step.
type line struct {
	Cell   int    `json:"cell"`
	Step   string `json:"step"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// take takes the steps of one cell.
func take(number int, cell cell, said chan<- line) {
	s := &scenario{cell: cell}
	for _, step := range []step{
		{"card", s.card}, {"send", s.send}, {"stream", s.stream}, {"get", s.get},
		{"list", s.list}, {"cancel", s.cancel}, {"subscribe", s.subscribe},
		{"multi-turn", s.multiTurn}, {"parts", s.returned}, {"fail", s.failing},
		{"unknown-task", s.unknownTask},
	} {
		if reason, left := cell.Without[step.name]; left {
			said <- line{number, step.name, true, leftOut(reason).Error()}
			continue
		}
		detail, err := attempt(step.run)
		var left leftOut
		if err != nil {
			detail = err.Error()
		}
		said <- line{number, step.name, err == nil || errors.As(err, &left), detail}
	}
}

func main() {
	var cells []cell
	flag.Func("cell", "a cell as JSON; repeatable", func(text string) error {
		var one cell
		err := json.Unmarshal([]byte(text), &one)
		cells = append(cells, one)
		return err
	})
	flag.Parse()
	said := make(chan line)
	var taking sync.WaitGroup
	for number, cell := range cells {
		taking.Go(func() { take(number, cell, said) })
	}
	go func() {
		taking.Wait()
		close(said)
	}()
	failed := false
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for line := range said {
		failed = failed || !line.OK
		if err := out.Encode(line); err != nil {
			os.Exit(2)
		}
	}
	if failed {
		os.Exit(1)
	}
}
