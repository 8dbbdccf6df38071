import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Calls the service with the JDK's client and its defaults, which offer HTTP/2 by an upgrade. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 0; number < 3; number++) {
            String body = "{\"consignment_id\": \"JAVA" + number + "\", \"channel\": \"postal\", \"description\": \"pigment\"}";
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + "/v1/scores"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body());
        }
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + "/v1/consignments/JAVA0")).build();
        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + response.body());
    }
}
